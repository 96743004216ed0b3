#[bourn::test]
async fn counts<const N: usize>() {
    let _ = N;
}

fn main() {}

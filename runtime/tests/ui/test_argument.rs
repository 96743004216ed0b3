#[bourn::test]
async fn counts(limit: usize) {
    let _ = limit;
}

fn main() {}

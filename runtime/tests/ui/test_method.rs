struct Counter;

impl Counter {
    #[bourn::test]
    async fn counts(&self) {}
}

fn main() {
    let _ = Counter;
}

#[bourn::test(backend = "io_uring")]
async fn counts() {}

fn main() {}

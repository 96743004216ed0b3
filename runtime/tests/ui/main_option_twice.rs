#[bourn::main(backend = "poll", backend = "poll")]
async fn main() {}

#[bourn::main(backend = "kqueue")]
async fn main() {}

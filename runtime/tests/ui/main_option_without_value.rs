#[bourn::main(backend)]
async fn main() {}

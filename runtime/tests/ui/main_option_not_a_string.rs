#[bourn::main(backend = Poll)]
async fn main() {}

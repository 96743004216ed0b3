#[bourn::main(flavor = "threads")]
async fn main() {}

#[bourn::main]
fn main() {}

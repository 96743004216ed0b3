#[bourn::main]
async unsafe fn main() {}

#[bourn::main]
async extern "C" fn main() {}

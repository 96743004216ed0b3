#[bourn::test]
fn counts() {}

fn main() {}

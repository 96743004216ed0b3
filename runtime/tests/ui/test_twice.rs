#[bourn::test]
#[test]
async fn counts() {}

fn main() {}

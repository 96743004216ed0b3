#[bourn::test(max_poll = "5")]
async fn sinks() {}

fn main() {}

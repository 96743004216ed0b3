// One compilation shows everything that is wrong.

#[bourn::main]
fn main<T>(value: T) -> T {
    value
}

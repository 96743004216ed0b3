// `?` in a function that returns nothing is explained as in any other function.

#[bourn::main]
async fn main() {
    let port: u16 = "eighty".parse()?;
    let _ = port;
}

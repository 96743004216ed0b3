// `?` names the two error types that do not convert.

#[derive(Debug)]
struct Missing;

#[bourn::main]
async fn main() -> Result<(), Missing> {
    let port: u16 = "eighty".parse::<u16>()?;
    let _ = port;
    Ok(())
}

// The error points at the body's value and at the written return type.

#[bourn::main]
async fn main() -> Result<(), std::io::Error> {
    "neither Ok nor Err"
}

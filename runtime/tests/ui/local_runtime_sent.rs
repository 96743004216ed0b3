//! Its tasks may not leave this thread, and so may it not.

fn main() -> std::io::Result<()> {
    let runtime = bourn::runtime::Builder::new_current_thread().build_local()?;
    std::thread::spawn(move || runtime.block_on(async {}));
    Ok(())
}

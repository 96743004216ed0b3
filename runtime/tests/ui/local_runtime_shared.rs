fn main() -> std::io::Result<()> {
    let runtime = bourn::runtime::Builder::new_current_thread().build_local()?;
    std::thread::scope(|scope| {
        scope.spawn(|| runtime.block_on(async {}));
    });
    Ok(())
}

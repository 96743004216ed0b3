//! Misuse that must not compile, and what the compiler then says.

#[test]
fn compile_fail_messages() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}

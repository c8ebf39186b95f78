//! Every misuse of the macros that they or the types behind them catch says what to write instead.

#[test]
fn misuse_is_refused_with_its_remedy() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}

//! Files of the library are compiled here a second time: without their own tests, which know nothing of the checker.

fn main() {
    println!("cargo::rustc-cfg=loom");
    println!("cargo::rerun-if-changed=build.rs");
}

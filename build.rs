//! Builds again when a carried file comes or goes, which the compiler alone would not see.

fn main() {
    for folder in ["labs", "cloud-config"] {
        println!("cargo:rerun-if-changed={folder}");
    }
}

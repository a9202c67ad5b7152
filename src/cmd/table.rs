//! Columns of text for people: no borders, so that they can be cut, and no blanks at line ends.

use comfy_table::Table;

/// A table with `header`, one line a row, each ending with a line break.
pub(in crate::cmd) fn columns(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).force_no_tty();
    table.set_header(header.iter().copied());
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect::<Vec<_>>().concat()
}

/// A size as people write it.
pub(in crate::cmd) fn size(mib: u64) -> String {
    if mib >= 1024 && mib.is_multiple_of(1024) { format!("{}GiB", mib / 1024) } else { format!("{mib}MiB") }
}

/// A number of bytes as people write it.
pub(in crate::cmd) fn bytes(number: u64) -> String {
    indicatif::HumanBytes(number).to_string()
}

//! A bar of plain text that shows how far a long operation is.
#![expect(clippy::print_stdout, reason = "a bar is there to be seen")]

use std::io::Write as _;

use watchdog_audit::Progress;

/// Letters of a full bar.
const WIDTH: u64 = 30;

/// Draws a bar over the one before. The last one ends its line.
pub fn draw(unit: &str, progress: Progress) {
    print!("\r  {}", bar(unit, progress));
    if progress.done >= progress.total {
        println!();
    }
    // A bar that is not shown is no reason to end.
    let _ = std::io::stdout().flush();
}

fn bar(unit: &str, Progress { done, total, .. }: Progress) -> String {
    let full = (done.min(total) * WIDTH).checked_div(total).unwrap_or(WIDTH);
    let letter = |place| if place < full { '#' } else { '-' };
    let bar: String = (0..WIDTH).map(letter).collect();
    format!("[{bar}] {done} of {total} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_as_full_as_the_work_is_done() {
        let full = |done, total| {
            bar("x", Progress::new(done, total)).chars().filter(|letter| *letter == '#').count()
        };
        assert_eq!([full(0, 4), full(1, 4), full(4, 4)], [0, 7, 30]);
        assert_eq!([full(0, 0), full(9, 3)], [30, 30]);
        assert!(bar("segments", Progress::new(1, 4)).ends_with("] 1 of 4 segments"));
    }
}

//! Memory that is here. Where a virtual machine's host takes back what is free, the first use of a page is several times as slow as the next, and whoever is measured first after a
//! rest pays for it.

use std::{fs, hint::black_box};

const PAGE: usize = 4096;

/// Uses `mib` MiB of memory and gives them back, at most half of what is free, so that what is measured next finds pages that were just in use.
pub fn touch_memory(mib: usize) {
    let free = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text
            .lines()
            .find(|line| line.starts_with("MemAvailable:"))?;
        line.split_whitespace().nth(1)?.parse::<usize>().ok()
    });
    let most = free.map_or(0, |kib| kib / 1024 / 2);
    let mut memory = vec![0_u8; mib.min(most) << 20];
    for page in memory.chunks_mut(PAGE) {
        page[0] = 1;
    }
    black_box(&memory);
}

//! Memory of the media state: one mapping, reserved at the start for everything the board profile allows,
//! touched and locked, so that calls never wait for page faults. State used by the media thread is allocated
//! in it ([`within`]), by any thread, and returned to it when dropped, by any thread. The allocator is TLSF
//! with constant time.
//!
//! The program must register [`MediaAllocator`] as global allocator; otherwise everything here has no effect.
#![expect(
    unsafe_code,
    reason = "an allocator gives out memory as pointers, and its region is mapped by the system"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};
use std::io;
use std::ptr::{NonNull, null_mut, slice_from_raw_parts_mut};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use rlsf::{GRANULARITY, Tlsf};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap_anonymous};

/// Overhead of a block, bytes.
const HEADER: usize = 2 * size_of::<usize>();
/// The region size is a multiple of this many bytes.
pub const PIECE: usize = 1 << 20;
/// Pages are locked in chunks of this many bytes, a tenth of a millisecond each, so that other threads may
/// map memory in between.
const LOCKED: usize = 128 << 10;

/// Allocation mode of the calling thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    System,
    Region,
    /// Allocates from the system, and counts.
    Measure,
}

thread_local! {
    static MODE: Cell<Mode> = const { Cell::new(Mode::System) };
    static MEASURED: Cell<usize> = const { Cell::new(0) };
}

struct Region {
    busy: AtomicBool,
    blocks: UnsafeCell<Tlsf<'static, u32, u32, 26, 32>>,
    start: AtomicUsize,
    end: AtomicUsize,
    used: AtomicUsize,
    peak: AtomicUsize,
    spilled: AtomicU64,
}

// SAFETY: the blocks are accessed only while `busy` is held.
unsafe impl Sync for Region {}

static REGION: Region = Region {
    busy: AtomicBool::new(false),
    blocks: UnsafeCell::new(Tlsf::new()),
    start: AtomicUsize::new(0),
    end: AtomicUsize::new(0),
    used: AtomicUsize::new(0),
    peak: AtomicUsize::new(0),
    spilled: AtomicU64::new(0),
};

impl Region {
    fn holds(&self, at: *mut u8) -> bool {
        // The end is read first: if it is set, the start is set as well.
        let (at, end) = (at as usize, self.end.load(Ordering::Acquire));
        at < end && at >= self.start.load(Ordering::Acquire)
    }

    /// Start and end; both 0 before it is reserved.
    fn bounds(&self) -> (usize, usize) {
        let end = self.end.load(Ordering::Acquire);
        (if end == 0 { 0 } else { self.start.load(Ordering::Acquire) }, end)
    }

    fn is_there(&self) -> bool {
        self.end.load(Ordering::Acquire) > 0
    }

    /// Exclusive access to the blocks. Few threads wait here, never the media thread.
    fn alone<T>(&self, f: impl FnOnce(&mut Tlsf<'static, u32, u32, 26, 32>) -> T) -> T {
        while self.busy.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            std::thread::yield_now();
        }
        // SAFETY: `busy` guarantees exclusive access.
        let done = f(unsafe { &mut *self.blocks.get() });
        self.busy.store(false, Ordering::Release);
        done
    }

    fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        let found = self.alone(|blocks| blocks.allocate(layout));
        match found {
            Some(_) => {
                let used = self.used.fetch_add(block(layout), Ordering::Relaxed) + block(layout);
                self.peak.fetch_max(used, Ordering::Relaxed);
            }
            None if self.is_there() => {
                self.spilled.fetch_add(1, Ordering::Relaxed);
            }
            None => {}
        }
        found
    }

    /// # Safety
    /// The block was returned by `allocate` for this layout.
    unsafe fn free(&self, at: NonNull<u8>, layout: Layout) {
        // SAFETY: guaranteed by the caller.
        self.alone(|blocks| unsafe { blocks.deallocate(at, layout.align()) });
        self.used.fetch_sub(block(layout), Ordering::Relaxed);
    }
}

/// Bytes of the region used by an allocation.
fn block(layout: Layout) -> usize {
    let padding = layout.align().saturating_sub(GRANULARITY / 2);
    (layout.size() + padding + HEADER).next_multiple_of(GRANULARITY)
}

/// The program's allocator: the system's, except for allocations made [`within`] the region.
#[derive(Debug)]
pub struct MediaAllocator;

// SAFETY: blocks come from the system's or the region's allocator and are returned to the same one,
// determined by their address. Nothing here allocates or unwinds. Not inlined, because of tens of thousands
// of call sites.
unsafe impl GlobalAlloc for MediaAllocator {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mode = MODE.try_with(Cell::get).unwrap_or(Mode::System);
        if mode == Mode::Region
            && let Some(at) = REGION.allocate(layout)
        {
            return at.as_ptr();
        }
        if mode == Mode::Measure {
            count(|sum| sum.saturating_add(block(layout)));
        }
        // SAFETY: guaranteed by the caller.
        unsafe { System.alloc(layout) }
    }

    #[inline(never)]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if MODE.try_with(Cell::get).unwrap_or(Mode::System) == Mode::System {
            // SAFETY: guaranteed by the caller.
            return unsafe { System.alloc_zeroed(layout) };
        }
        // SAFETY: guaranteed by the caller.
        let at = unsafe { self.alloc(layout) };
        if !at.is_null() {
            // SAFETY: the block has the requested size.
            unsafe { at.write_bytes(0, layout.size()) };
        }
        at
    }

    #[inline(never)]
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if MODE.try_with(Cell::get) == Ok(Mode::Measure) {
            count(|sum| sum.saturating_sub(block(layout)));
        }
        match NonNull::new(at) {
            // SAFETY: the address is in the region, so that the block was allocated there.
            Some(at) if REGION.holds(at.as_ptr()) => unsafe { REGION.free(at, layout) },
            // SAFETY: it was allocated by the system.
            _ => unsafe { System.dealloc(at, layout) },
        }
    }

    #[inline(never)]
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !REGION.holds(at) && MODE.try_with(Cell::get) != Ok(Mode::Measure) {
            // SAFETY: it was allocated by the system.
            return unsafe { System.realloc(at, layout, size) };
        }
        let Ok(new) = Layout::from_size_align(size, layout.align()) else { return null_mut() };
        // SAFETY: guaranteed by the caller; the blocks do not overlap, and both are at least as long as what
        // is copied.
        unsafe {
            let moved = self.alloc(new);
            if !moved.is_null() {
                at.copy_to_nonoverlapping(moved, layout.size().min(size));
                self.dealloc(at, layout);
            }
            moved
        }
    }
}

fn count(change: impl FnOnce(usize) -> usize) {
    // Fails only in a thread that is exiting.
    let _counted = MEASURED.try_with(|sum| sum.set(change(sum.get())));
}

/// Restores the thread's mode, also on unwinding.
struct Before(Mode);

impl Drop for Before {
    fn drop(&mut self) {
        MODE.set(self.0);
    }
}

/// Runs `make` with its allocations in the region. Allocations that do not fit come from the system, and are
/// counted.
pub fn within<T>(make: impl FnOnce() -> T) -> T {
    let _before = Before(MODE.replace(Mode::Region));
    make()
}

/// Runs `make` and drops its result: how much of the region it would use, bytes. 0 if the program uses
/// another allocator.
pub fn measure<T>(make: impl FnOnce() -> T) -> usize {
    let made = {
        let _before = Before(MODE.replace(Mode::Measure));
        MEASURED.set(0);
        make()
    };
    let taken = MEASURED.get();
    // Prevents the compiler from removing unused allocations.
    drop(std::hint::black_box(made));
    taken
}

/// Maps the region with `bytes` usable bytes. Only the first call has an effect.
///
/// # Errors
/// The system does not provide the memory.
pub fn reserve(bytes: usize) -> io::Result<()> {
    if bytes == 0 || REGION.is_there() {
        return Ok(());
    }
    let len = bytes.next_multiple_of(PIECE);
    // SAFETY: a new mapping, at an address chosen by the system.
    let at =
        unsafe { mmap_anonymous(null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)? };
    let at = at.cast::<u8>();
    let Some(whole) = NonNull::new(slice_from_raw_parts_mut(at, len)) else { return Ok(()) };
    // Before any block can be allocated.
    REGION.start.store(at as usize, Ordering::Release);
    REGION.end.store(at as usize + len, Ordering::Release);
    // SAFETY: the mapping is used exclusively, and never unmapped.
    REGION.alone(|blocks| unsafe { blocks.insert_free_block_ptr(whole) });
    Ok(())
}

/// Whether pages are resident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Resident and locked.
    Locked,
    /// Resident, but may be paged out.
    Touched,
    /// Loaded on first access.
    No,
}

/// Makes all pages of the region resident, and locks them if permitted. Takes some milliseconds per 10 MB,
/// and may run while the region is in use.
#[must_use]
pub fn hold() -> Held {
    let (start, end) = REGION.bounds();
    let mut held = Held::Locked;
    for at in (start..end).step_by(LOCKED) {
        // SAFETY: the pages belong to the region, which stays mapped.
        held = held.min_of(unsafe { hold_pages(at as *mut u8, LOCKED.min(end - at)) });
    }
    held
}

impl Held {
    fn min_of(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Touched, _) | (_, Self::Touched) => Self::Touched,
            (Self::Locked, Self::Locked) => Self::Locked,
        }
    }
}

/// # Safety
/// The pages are mapped and writable, and stay so.
unsafe fn hold_pages(at: *mut u8, len: usize) -> Held {
    // SAFETY: neither call changes the contents of the pages.
    unsafe {
        if mlock(at.cast(), len).is_ok() {
            return Held::Locked;
        }
        match madvise(at.cast(), len, Advice::LinuxPopulateWrite) {
            Ok(()) => Held::Touched,
            Err(_) => Held::No,
        }
    }
}

/// Makes the stack of the calling thread resident, and locks it if permitted.
#[must_use]
pub fn hold_stack() -> Held {
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    let (mut at, mut len) = (null_mut(), 0usize);
    // SAFETY: the attributes are initialized by the first call, read by the second and destroyed by the
    // third.
    let found = unsafe {
        libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) == 0 && {
            let found = libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut at, &raw mut len) == 0;
            libc::pthread_attr_destroy(attributes.as_mut_ptr());
            found
        }
    };
    if !found || at.is_null() {
        return Held::No;
    }
    // SAFETY: this is the current stack.
    unsafe { hold_pages(at.cast(), len) }
}

/// Usage of the region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes reserved.
    pub reserved: usize,
    /// Bytes in use.
    pub used: usize,
    /// Maximum bytes in use at once.
    pub peak: usize,
    /// Allocations that did not fit, and came from the system.
    pub spilled: u64,
}

/// Usage of the region.
#[must_use]
pub fn usage() -> Usage {
    let (start, end) = REGION.bounds();
    Usage {
        reserved: end - start,
        used: REGION.used.load(Ordering::Relaxed),
        peak: REGION.peak.load(Ordering::Relaxed),
        spilled: REGION.spilled.load(Ordering::Relaxed),
    }
}

//go:build power

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A disk is a file system whose power can be cut: ext4 with a journal, in an image that lies in memory.
//
// Nothing reaches the image by itself while a test runs: the journal commits when it is told to, not every five seconds,
// and a rename over a file does not bring its content along. What is there after a cut was synced.
type disk struct {
	image string // empty if dir is a plain folder, because there can be no disk
	dir   string // where it is mounted, without links
	cuts  int
}

const (
	imageBytes  = 96 << 20
	diskOptions = "loop,noatime,commit=3600,noauto_da_alloc"
)

// newDisk makes a disk and mounts it until the test ends. If this machine cannot, it is nil and says why.
func newDisk(t *testing.T) (d *disk, why string) {
	t.Helper()
	if why := noLoop(); why != "" {
		return nil, why
	}
	memory := plainFolder(t)
	d = &disk{image: filepath.Join(memory, "image"), dir: plainFolder(t)}
	if err := unix.Mount("tmpfs", memory, "tmpfs", 0, "size=1g"); err != nil {
		return nil, fmt.Sprintf("mount of a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(d.dir, 0); err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: it is not mounted
			t.Errorf("unmount: %v", err)
		}
		if err := unix.Unmount(memory, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	f, err := os.Create(d.image)
	if err == nil {
		err = errors.Join(f.Truncate(imageBytes), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", "-b", "4096", d.image).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4 (package e2fsprogs): %v\n%s", err, out)
	}
	if err := d.mount(); err != nil {
		return nil, err.Error()
	}
	return d, ""
}

// plainFolder is a new folder under the name that the kernel has for it.
func plainFolder(t *testing.T) string {
	t.Helper()
	path, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// noLoop says why no loop device can be had, if so.
func noLoop() string {
	if os.Getuid() != 0 {
		return "not root"
	}
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return err.Error()
	}
	defer control.Close()
	if _, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE); err != nil {
		return "no loop device: " + err.Error()
	}
	return ""
}

func (d *disk) mount() error {
	if out, err := exec.Command("mount", "-o", diskOptions, d.image, d.dir).CombinedOutput(); err != nil {
		return fmt.Errorf("loop mount: %w: %s", err, out)
	}
	return nil
}

// sync makes all durable that is on the disk.
func (d *disk) sync() error {
	f, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}

// FS_IOC_SHUTDOWN, which asks a file system to stop at once, and its mode in which not even the log is written out.
const (
	shutdownCall    = 0x8004587D
	shutdownNoFlush = 2
)

// cut cuts the power: from now on nothing is written and every call fails.
func (d *disk) cut() error {
	f, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	mode := uint32(shutdownNoFlush)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), shutdownCall, uintptr(unsafe.Pointer(&mode))); errno != 0 {
		return fmt.Errorf("shutdown of the file system: %w", errno)
	}
	return nil
}

// restore gives the power back after a cut: a copy of the image is mounted, since the kernel may hold on to the file system
// that was shut down as long as any process has a mount name space from before. No process may have anything open on the
// disk.
func (d *disk) restore() error {
	if err := unix.Unmount(d.dir, 0); err != nil {
		return fmt.Errorf("unmount: %w", err)
	}
	old := d.image
	d.cuts++
	d.image = fmt.Sprintf("%s%d", strings.TrimRight(old, "0123456789"), d.cuts)
	if out, err := exec.Command("cp", "--sparse=always", old, d.image).CombinedOutput(); err != nil {
		return fmt.Errorf("copy of the image: %w: %s", err, out)
	}
	if err := os.Remove(old); err != nil {
		return err
	}
	return d.mount()
}

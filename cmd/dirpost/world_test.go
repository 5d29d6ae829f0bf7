package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// inOwnWorld runs f where it may use the usual places and ports of a system without touching this one: in a mount and a
// network namespace, with an /etc that is a copy, and with nothing in /var/lib, /var/cache and /run. Only the goroutine of f
// is there, and the programs it starts. Where that cannot be had it logs why and reports false.
func inOwnWorld(t *testing.T, f func()) bool {
	t.Helper()
	if os.Getuid() != 0 {
		t.Log("not root: the usual places cannot be used without touching this system")
		return false
	}
	etc := t.TempDir()
	if out, err := exec.Command("cp", "-a", "/etc/.", etc).CombinedOutput(); err != nil {
		t.Fatalf("copy /etc: %v\n%s", err, out)
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine, and its world with it
		if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		defer close(done)
		if err := furnish(etc); err != nil {
			t.Error(err)
			return
		}
		f()
	}()
	if err := <-done; err != nil {
		t.Logf("no namespaces here: %v", err)
		return false
	}
	return true
}

// furnish makes the world of the calling thread usable.
func furnish(etc string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := os.Chmod(etc, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(etc, "/etc", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount /etc: %w", err)
	}
	for _, dir := range []string{"/var/lib", "/var/cache", "/run"} {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	if err := os.RemoveAll("/etc/dirpost"); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.FromSlash("/etc/systemd/system"), 0o755); err != nil {
		return err
	}
	return loopbackUp()
}

// loopbackUp switches lo on, which is off in a new network namespace.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

package backup

import (
	"archive/tar"
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// ErrNotBackup is wrapped when something is no backup, or not a whole one.
var ErrNotBackup = errors.New("not a whole backup")

// maxText bounds the manifest, the configuration and the summary.
const maxText = 4 << 20

// An Archive is a backup that is being read.
type Archive struct {
	Manifest Manifest
	Config   []byte // text of dirpost.toml

	next  func() (Entry, error, bool)
	close func() error
}

// Open opens the backup at from, a tar file or a folder, or reads a tar file from r if that is "-". The caller closes it.
func Open(from string, r io.Reader) (*Archive, error) {
	a, err := open(from, r)
	if err != nil {
		return nil, err
	}
	if err := a.head(); err != nil {
		a.Close()
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	return a, nil
}

func open(from string, r io.Reader) (*Archive, error) {
	entries, done := tarEntries(r), func() error { return nil }
	if from != "-" {
		info, err := os.Stat(from)
		if err != nil {
			return nil, err
		}
		if info.IsDir() {
			root, err := os.OpenRoot(from)
			if err != nil {
				return nil, err
			}
			entries, done = folderEntries(root), root.Close
		} else {
			f, err := os.Open(from)
			if err != nil {
				return nil, err
			}
			entries, done = tarEntries(f), f.Close
		}
	}
	next, stop := iter.Pull2(entries)
	return &Archive{next: next, close: func() error {
		stop()
		return done()
	}}, nil
}

// Close ends reading.
func (a *Archive) Close() error { return a.close() }

// head reads what stands first.
func (a *Archive) head() error {
	text, err := a.text(manifestName)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &a.Manifest); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrNotBackup, manifestName, err)
	}
	if a.Manifest.Format != Format {
		return fmt.Errorf("%w: format %d, this program knows %d", ErrNotBackup, a.Manifest.Format, Format)
	}
	a.Config, err = a.text(configName)
	return err
}

func (a *Archive) text(name string) ([]byte, error) {
	e, err, ok := a.next()
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrNotBackup, err)
	case !ok || e.Name != name || e.Body == nil:
		return nil, fmt.Errorf("%w: no %s where it should be", ErrNotBackup, name)
	}
	return readText(e)
}

func readText(e Entry) ([]byte, error) {
	if e.Size > maxText {
		return nil, fmt.Errorf("%w: %s has %d octets", ErrNotBackup, e.Name, e.Size)
	}
	text, err := io.ReadAll(io.LimitReader(e.Body, maxText))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrNotBackup, e.Name, err)
	}
	return text, nil
}

// tarEntries reads a tar file.
func tarEntries(r io.Reader) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		in := tar.NewReader(bufio.NewReaderSize(r, copyBytes))
		for {
			h, err := in.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(Entry{}, err)
				return
			}
			e := Entry{Name: strings.TrimSuffix(h.Name, "/"), ModTime: h.ModTime, Size: h.Size}
			switch h.Typeflag {
			case tar.TypeReg:
				e.Body = in
			case tar.TypeDir:
				e.Folder = true
			case tar.TypeLink:
				e.Link = h.Linkname
			default:
				yield(Entry{}, fmt.Errorf("%s is neither file nor folder", h.Name))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// folderEntries reads a folder in the order of a tar file.
func folderEntries(root *os.Root) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		f := &folderReader{root: root, yield: yield, linked: map[inode]string{}}
		for _, name := range []string{manifestName, configName, filesFolder, path.Dir(directoryName), keysFolder, spoolFolder, homesFolder, summaryName} {
			if !f.walk(name) {
				return
			}
		}
	}
}

type folderReader struct {
	root   *os.Root
	yield  func(Entry, error) bool
	linked map[inode]string
}

// walk yields a file, or a folder and all that is in it. It reports whether to go on.
func (r *folderReader) walk(name string) bool {
	err := fs.WalkDir(r.root.FS(), name, func(name string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case d.IsDir():
			return r.give(Entry{Name: name, Folder: true})
		}
		return r.file(name)
	})
	if err != nil && !errors.Is(err, errStop) {
		r.yield(Entry{}, err)
	}
	return err == nil
}

// errStop ends a walk because the reader has enough.
var errStop = errors.New("enough")

func (r *folderReader) give(e Entry) error {
	if !r.yield(e, nil) {
		return errStop
	}
	return nil
}

func (r *folderReader) file(name string) error {
	f, info, err := openFile(r.root, name)
	if err != nil {
		return err
	}
	if f == nil {
		return fmt.Errorf("%s is neither file nor folder", name)
	}
	defer f.Close()
	e := Entry{Name: name, Size: info.Size(), ModTime: info.ModTime(), Body: f}
	if id, several := identity(info); several {
		if first := r.linked[id]; first != "" {
			e.Link, e.Body, e.Size = first, nil, 0
		} else {
			r.linked[id] = name
		}
	}
	return r.give(e)
}

// A Destination is where a backup is put back.
type Destination struct {
	Data string // an empty folder

	// File tells where a file goes that the configuration names by this key, and with which mode; no path = nowhere.
	File func(key string) (path string, mode fs.FileMode)
}

// Extract puts back what follows the configuration. When it fails, what is there is not to be used.
func (a *Archive) Extract(to Destination) (Summary, error) {
	data, err := os.OpenRoot(to.Data)
	if err != nil {
		return Summary{}, err
	}
	defer data.Close()
	x := &extraction{to: to, data: data}
	x.count.Files = 2 // manifest and configuration
	for {
		e, err, ok := a.next()
		switch {
		case err != nil:
			return x.count, fmt.Errorf("%w: %w", ErrNotBackup, err)
		case !ok:
			return x.count, fmt.Errorf("%w: it ends before its summary", ErrNotBackup)
		case e.Name == summaryName:
			return x.finish(e)
		}
		err = x.put(e)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: %w", ErrNotBackup, err)
		}
		if err != nil {
			return x.count, fmt.Errorf("%s: %w", e.Name, err)
		}
	}
}

// An extraction is a backup on its way into a folder.
type extraction struct {
	to    Destination
	data  *os.Root
	count Summary
}

// put puts one entry back.
func (x *extraction) put(e Entry) error {
	first, key, _ := strings.Cut(e.Name, "/")
	state := first == keysFolder || first == spoolFolder || first == homesFolder || first == path.Dir(directoryName)
	switch {
	case !fs.ValidPath(e.Name), e.Link != "" && !fs.ValidPath(e.Link):
		return fmt.Errorf("%w: bad name", ErrNotBackup)
	case first == filesFolder && e.Folder:
		return nil
	case first == filesFolder:
		return x.named(key, e)
	case !state:
		return fmt.Errorf("%w: this does not belong here", ErrNotBackup)
	case e.Folder:
		return x.data.MkdirAll(e.Name, 0o700)
	}
	return x.file(e)
}

// named puts back a file that the configuration names. One that is there stays: others may look after it.
func (x *extraction) named(key string, e Entry) error {
	x.count.Files++
	name, mode := x.to.File(key)
	if name == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(exactly(f, e), f.Chmod(mode), f.Sync(), f.Close())
}

// file puts back a file of the data folder. One that changed while the backup was made is in it again.
func (x *extraction) file(e Entry) error {
	if err := x.data.MkdirAll(path.Dir(e.Name), 0o700); err != nil {
		return err
	}
	switch err := x.data.Remove(e.Name); {
	case errors.Is(err, fs.ErrNotExist):
		x.count.add(e)
	case err != nil:
		return err
	}
	if e.Link != "" {
		return x.data.Link(e.Link, e.Name)
	}
	f, err := x.data.OpenFile(e.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(exactly(f, e), f.Close()); err != nil {
		return err
	}
	return x.data.Chtimes(e.Name, e.ModTime, e.ModTime)
}

// finish compares what came with what there should be.
func (x *extraction) finish(e Entry) (Summary, error) {
	text, err := readText(e)
	if err != nil {
		return x.count, err
	}
	var want Summary
	if err := json.Unmarshal(text, &want); err != nil {
		return x.count, fmt.Errorf("%w: %s: %w", ErrNotBackup, summaryName, err)
	}
	if x.count.Messages != want.Messages || x.count.Files != want.Files {
		return x.count, fmt.Errorf("%w: %d messages and %d files came, it has %d and %d", ErrNotBackup,
			x.count.Messages, x.count.Files, want.Messages, want.Files)
	}
	return want, syncAll(x.to.Data)
}

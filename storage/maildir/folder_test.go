package maildir

import (
	"errors"
	"strings"
	"testing"

	"github.com/dirpost/dirpost/storage"
)

// folders are names and the directories they have; the seeds of the fuzzers too.
var folders = []struct{ name, folder, dir string }{
	{"INBOX is the Maildir itself", "INBOX", ""},
	{"plain", "Sent", ".Sent"},
	{"levels", "Lists/go/nuts", ".Lists.go.nuts"},
	{"below INBOX", "INBOX/x", ".INBOX.x"},
	{"spaces and signs", "a b~'\"\\", ".a b~'\"\\"},
	{"ampersand", "a&b", ".a&-b"},
	{"RFC 3501 section 5.1.3", "~peter/mail/台北/日本語", ".~peter.mail.&U,BTFw-.&ZeVnLIqe-"},
	{"dot inside a level", "v1.2/x", ".v1&AC4-2.x"},
	{"dots beside letters beyond ASCII", "ä.ö", ".&AOQALgD2-"},
	{"only dots", "..", ".&AC4ALg-"},
	{"beyond the basic plane", "😀", ".&2D3eAA-"},
	{"in a base64 look", "&AC4-", ".&-AC4-"},
}

func TestFolderDir(t *testing.T) {
	t.Parallel()
	for _, tt := range folders {
		dir, err := FolderDir(tt.folder, 0)
		if dir != tt.dir || err != nil {
			t.Errorf("%s: FolderDir(%q) = %q, %v; want %q", tt.name, tt.folder, dir, err, tt.dir)
		}
		if tt.dir == "" {
			continue
		}
		if back, err := FolderName(tt.dir); back != tt.folder || err != nil {
			t.Errorf("%s: FolderName(%q) = %q, %v; want %q", tt.name, tt.dir, back, err, tt.folder)
		}
	}
}

func TestBadFolders(t *testing.T) {
	t.Parallel()
	for name, folder := range map[string]string{
		"empty": "", "empty first level": "/a", "empty last level": "a/", "empty level": "a//b", "not UTF-8": "a\xff",
		"control character": "a\tb", "DEL": "a\x7f", "zero": "a\x00", "256 octets": strings.Repeat("x", 255),
	} {
		if dir, err := FolderDir(folder, 0); !errors.Is(err, storage.ErrBadName) {
			t.Errorf("%s: FolderDir(%q) = %q, %v; want %v", name, folder, dir, err, storage.ErrBadName)
		}
	}
	for name, dir := range map[string]string{
		"no dot": "a", "only a dot": ".", "empty level": ".a..b", "INBOX": ".INBOX", "inbox": ".inbox", "raw UTF-8": ".ä",
		"ASCII as base64": ".&AGE-", "not shifted back": ".&AOQ", "two runs for one": ".&AOQ-&AOQ-", "odd octets": ".&AO-",
		"no base64": ".&!-", "half a surrogate pair": ".&2D0-", "slash as base64": ".&AC8-",
	} {
		if folder, err := FolderName(dir); !errors.Is(err, storage.ErrBadName) {
			t.Errorf("%s: FolderName(%q) = %q, %v; want %v", name, dir, folder, err, storage.ErrBadName)
		}
	}
}

func TestFolderLimit(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, folder string
		limit        int
		err          error
	}{
		{"fits exactly", "abc", 4, nil},
		{"one more", "abcd", 4, storage.ErrBadName},
		{"counted as on disk", "ä", 4, storage.ErrBadName},
		{"no limit is 255", strings.Repeat("x", 254), 0, nil},
		{"above 255 is 255", strings.Repeat("x", 255), 1000, storage.ErrBadName},
	}
	for _, tt := range tests {
		if _, err := FolderDir(tt.folder, tt.limit); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v; want %v", tt.name, err, tt.err)
		}
	}
}

func TestCleanFolder(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"inbox": "INBOX", "InBox/Sub": "INBOX/Sub", "INBOX": "INBOX", "inboxes": "inboxes", "a/inbox": "a/inbox",
	} {
		if got, err := CleanFolder(in); got != want || err != nil {
			t.Errorf("CleanFolder(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

// A folder has one directory and a directory one folder, whatever either is called; and a directory is one name.
func FuzzFolderName(f *testing.F) {
	for _, tt := range folders {
		f.Add(tt.folder)
		f.Add(tt.dir)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if dir, err := FolderDir(s, 0); err == nil && dir != "" {
			if strings.ContainsAny(dir, "/\x00") || dir[0] != '.' || len(dir) > 255 || dir == "." || dir == ".." {
				t.Errorf("FolderDir(%q) = %q", s, dir)
			}
			want, _ := CleanFolder(s)
			if back, err := FolderName(dir); back != want || err != nil {
				t.Errorf("FolderName(%q) = %q, %v; want %q", dir, back, err, want)
			}
		}
		if name, err := FolderName(s); err == nil {
			if dir, err := FolderDir(name, 0); dir != s || err != nil {
				t.Errorf("FolderDir(%q) = %q, %v; want %q", name, dir, err, s)
			}
		}
	})
}

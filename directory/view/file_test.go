package view

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// saved is the content of a file with some entries.
func saved(t testing.TB) []byte {
	t.Helper()
	s := &state{origin: Origin{Means: Syncrepl, Server: "ldapi:///x"}, cookie: []byte("rid=1")}
	for i := range 20 {
		id := ID{byte(i)}
		s.Snapshot = s.with(pack(id, ldap.NewEntry(fmt.Sprintf("uid=u%d,ou=people", i), map[string][]string{"uid": {fmt.Sprint("u", i)}, "dpAccountStatus": {"active"}})), nil)
	}
	var b bytes.Buffer
	if err := s.write(&b, time.Unix(1e9, 5)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What is written is read; what is damaged anywhere, cut off or of another version is dropped, and a new one can be kept.
func TestFile(t *testing.T) {
	t.Parallel()
	good := saved(t)
	s, seen, err := read(bytes.NewReader(good), int64(len(good)))
	if err != nil || s.Len() != 20 || string(s.cookie) != "rid=1" || s.origin.Server != "ldapi:///x" || !seen.Equal(time.Unix(1e9, 5)) {
		t.Fatalf("read %+v, %v, %v", s, seen, err)
	}
	found, err := s.Find(t.Context(), Query{Any: []Term{{"uid", "U7"}}})
	if err != nil || len(found) != 1 || found[0].DN != "uid=u7,ou=people" {
		t.Errorf("found %v, %v", found, err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x10
		if _, _, err := read(bytes.NewReader(bad), int64(len(bad))); !errors.Is(err, errFile) {
			t.Fatalf("octet %d is damaged, and the error is %v", i, err)
		}
		if _, _, err := read(bytes.NewReader(good[:i]), int64(i)); !errors.Is(err, errFile) {
			t.Fatalf("only %d octets are left, and the error is %v", i, err)
		}
	}

	file := filepath.Join(t.TempDir(), "cache", "directory")
	v := Open(Options{File: file})
	edit := v.Edit()
	edit.Put(ID{1}, ldap.NewEntry("uid=a", map[string][]string{"uid": {"a"}}))
	edit.Commit(Origin{Means: Poll}, nil)
	if err := v.Save(); err != nil {
		t.Fatal(err)
	}
	if now, ok := Open(Options{File: file}).Moment(); !ok || now.Len() != 1 || now.Current {
		t.Errorf("the kept view is %+v, %v; want one entry, not current", now, ok)
	}
	if err := os.WriteFile(file, good[:100], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := Open(Options{File: file}).Moment(); ok {
		t.Error("a damaged file is a view")
	}
}

// FuzzFile: a file of any octets is read or refused.
func FuzzFile(f *testing.F) {
	f.Add(saved(f))
	f.Add([]byte(magic + "{}\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		if s, _, err := read(bytes.NewReader(content), int64(len(content))); (s == nil) == (err == nil) {
			t.Errorf("state %v and error %v", s, err)
		}
	})
}

// An edit counts at once and whole, tells what changed and nothing else, and takes out what a refresh does not name.
func TestEdit(t *testing.T) {
	t.Parallel()
	var told []string
	v := Open(Options{Changed: func(old, now *ldap.Entry) {
		if now == nil {
			now = &ldap.Entry{DN: "gone"}
		}
		told = append(told, old.DN+" -> "+now.DN)
	}})
	put := func(e *Edit, id byte, dn string) { e.Put(ID{id}, ldap.NewEntry(dn, map[string][]string{"uid": {"u"}})) }
	e := v.Edit()
	put(e, 1, "uid=a")
	put(e, 2, "uid=b")
	put(e, 3, "uid=c")
	if _, ok := v.Moment(); ok {
		t.Error("half of the first load counts")
	}
	e.Commit(Origin{Means: Syncrepl}, []byte("1"))
	if len(told) != 0 {
		t.Errorf("the first load told %v", told)
	}

	e = v.Edit()
	e.Refresh()
	put(e, 1, "uid=a")
	put(e, 2, "uid=b2")
	before, _ := v.Moment()
	e.RemoveOthers()
	e.RemoveOthers() // there is no refresh any more
	e.Commit(Origin{Means: Syncrepl}, nil)
	after, _ := v.Moment()
	if before.Len() != 3 || after.Len() != 2 {
		t.Errorf("%d entries before and %d after, want 3 and 2", before.Len(), after.Len())
	}
	if got, want := fmt.Sprint(told), "[uid=b -> uid=b2 uid=c -> gone]"; got != want {
		t.Errorf("told %s, want %s", got, want)
	}
	if got := string(v.Cookie(Origin{Means: Syncrepl})); got != "1" {
		t.Errorf("cookie %q, want the one before", got)
	}
	if got := v.Cookie(Origin{Means: Syncrepl, Server: "another"}); got != nil {
		t.Errorf("cookie %q for another server", got)
	}
}

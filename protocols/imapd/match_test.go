package imapd

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/dirpost/dirpost/storage"
)

var matchTests = []struct {
	name          string
	pattern, text string
	want          bool
}{
	{"literal", "INBOX", "INBOX", true},
	{"literal, case counts", "Inbox", "INBOX", false},
	{"star", "*", "a/b/c", true},
	{"star is also nothing", "a*", "a", true},
	{"percent stops at the delimiter", "%", "a/b", false},
	{"percent is one level", "%", "ab", true},
	{"percent and below", "a/%", "a/b", true},
	{"percent in the middle", "a/%/c", "a/b/c", true},
	{"percent does not pass a level", "a/%/c", "a/b/x/c", false},
	{"star does", "a/*/c", "a/b/x/c", true},
	{"end of the name", "*c", "a/b/c", true},
	{"more text than pattern", "a", "ab", false},
	{"more pattern than text", "ab", "a", false},
	{"both wildcards", "%*%", "a/b", true},
	{"empty pattern", "", "a", false},
	{"no delimiter by percent", "a%", "a/", false},
}

func TestMatch(t *testing.T) {
	t.Parallel()
	for _, tt := range matchTests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := match(tt.pattern, tt.text); got != tt.want {
				t.Errorf("match(%q, %q) = %v, want %v", tt.pattern, tt.text, got, tt.want)
			}
		})
	}
}

// TestMatchIsNotExponential: patterns that make a matcher with backtracking hang cost nothing here.
func TestMatchIsNotExponential(t *testing.T) {
	t.Parallel()
	start := time.Now()
	match(strings.Repeat("a*", 1000), strings.Repeat("a", 255)+"b")
	if d := time.Since(start); d > time.Second {
		t.Errorf("took %v", d)
	}
}

func FuzzMatch(f *testing.F) {
	for _, tt := range matchTests {
		f.Add(tt.pattern, tt.text)
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if strings.Count(pattern, "*")+strings.Count(pattern, "%") > 6 || len(text) > 40 {
			return
		}
		if got, want := match(pattern, text), slowMatch(pattern, text); got != want {
			t.Errorf("match(%q, %q) = %v, want %v", pattern, text, got, want)
		}
	})
}

// slowMatch is the obvious form of match.
func slowMatch(pattern, text string) bool {
	if pattern == "" {
		return text == ""
	}
	switch c := pattern[0]; c {
	case '*', '%':
		for i := 0; ; i++ {
			if slowMatch(pattern[1:], text[i:]) {
				return true
			}
			if i == len(text) || c == '%' && text[i] == delimiter {
				return false
			}
		}
	default:
		return text != "" && text[0] == c && slowMatch(pattern[1:], text[1:])
	}
}

func TestParseFlags(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		in       []imap.Flag
		bits     storage.Flags
		keywords []string
		ok       bool
	}{
		{"system flags in any case", []imap.Flag{`\seen`, `\DELETED`}, storage.Seen | storage.Trashed, nil, true},
		{"a keyword with a letter of its own", []imap.Flag{"$forwarded"}, storage.Passed, nil, true},
		{"keywords once, in any case", []imap.Flag{"Work", "work", "$Label1"}, 0, []string{"Work", "$Label1"}, true},
		{"recent cannot be set", []imap.Flag{`\Recent`}, 0, nil, true},
		{"no such system flag", []imap.Flag{`\Bogus`}, 0, nil, false},
		{"wildcard", []imap.Flag{imap.FlagWildcard}, 0, nil, false},
		{"eight-bit keyword", []imap.Flag{"gr\xc3\xbcn"}, 0, nil, false},
		{"endless keyword", []imap.Flag{imap.Flag(strings.Repeat("k", maxKeyword+1))}, 0, nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseFlags(tt.in)
			if (err == nil) != tt.ok || tt.ok && (got.bits != tt.bits || !slices.Equal(got.keywords, tt.keywords)) {
				t.Errorf("parseFlags(%q) = %v %q, %v; want %v %q", tt.in, got.bits, got.keywords, err, tt.bits, tt.keywords)
			}
		})
	}
}

func TestSets(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{})
	for range 6 {
		s.deliver(t, "alice", "INBOX", "A: b\n\nc\n", 0)
	}
	m, err := s.home(t, "alice").Open(t.Context(), "INBOX")
	must(t, err)
	t.Cleanup(m.Close)
	empty := m.View()
	must(t, m.Expunge(t.Context(), []storage.UID{1, 2, 4}))
	view := m.View() // UIDs 3, 5, 6
	must(t, m.Expunge(t.Context(), []storage.UID{3, 5, 6}))
	full, empty := empty, m.View()
	tests := []struct {
		name string
		set  imap.NumSet
		want []places
		ok   bool
	}{
		{"all", imap.SeqSet{{Start: 1, Stop: 0}}, []places{{0, 3}}, true},
		{"the last", imap.SeqSet{{Start: 0, Stop: 0}}, []places{{2, 3}}, true},
		{"too high", imap.SeqSet{{Start: 2, Stop: 4}}, []places{{1, 3}}, false},
		{"far too high", imap.SeqSet{{Start: 9, Stop: 9}}, nil, false},
		{"from above the last to the last", imap.SeqSet{{Start: 9, Stop: 0}}, []places{{2, 3}}, true},
		{"the last twice", imap.SeqSet{{Start: 2, Stop: 3}, {Start: 0, Stop: 0}}, []places{{1, 3}}, true},
		{"UIDs", imap.UIDSet{{Start: 3, Stop: 3}, {Start: 6, Stop: 6}}, []places{{0, 1}, {2, 3}}, true},
		{"UIDs that are not there", imap.UIDSet{{Start: 1, Stop: 2}, {Start: 4, Stop: 4}, {Start: 7, Stop: 99}}, nil, true},
		{"UIDs around a gap", imap.UIDSet{{Start: 4, Stop: 5}}, []places{{1, 2}}, true},
		{"UIDs from above the last to the last", imap.UIDSet{{Start: 99, Stop: 0}}, []places{{2, 3}}, true},
		{"all UIDs", imap.UIDSet{{Start: 1, Stop: 0}}, []places{{0, 3}}, true},
	}
	for _, tt := range tests {
		got, ok := placesOf(tt.set, view)
		if ok != tt.ok || !slices.Equal(got, tt.want) {
			t.Errorf("%s: placesOf(%v) = %v, %v; want %v, %v", tt.name, tt.set, got, ok, tt.want, tt.ok)
		}
	}
	for _, set := range []imap.NumSet{imap.SeqSet{{Start: 1, Stop: 0}}, imap.SeqSet{{Start: 0, Stop: 0}}, imap.UIDSet{{Start: 1, Stop: 0}}} {
		if got, ok := placesOf(set, empty); len(got) != 0 || !ok {
			t.Errorf("placesOf(%v) of nothing = %v, %v; want none", set, got, ok)
		}
	}
	if got := choose(full, []places{{0, 1}, {5, 6}}); !slices.Equal(got, choice{{1, 1}, {6, 6}}) {
		t.Errorf("choose = %v, want the first and the last", got)
	}
}

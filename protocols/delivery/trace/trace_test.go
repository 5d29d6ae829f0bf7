package trace

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// crlf writes messages of this file with readable line ends.
func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

var messages = []struct {
	name   string
	in     string
	limits Limits
	want   string // what Copy writes
	err    error  // of Read or Copy
}{
	{"unchanged", crlf("A: 1\nB: 2\n\nbody\n"), Limits{}, crlf("A: 1\nB: 2\n\nbody\n"), nil},
	{"folded fields stay folded", crlf("A: 1\n\t2\n  3\n\nbody\n"), Limits{}, crlf("A: 1\n\t2\n  3\n\nbody\n"), nil},
	{"white space before the colon, RFC 5322 4.5", crlf("A : 1\n\n"), Limits{}, crlf("A : 1\n\n"), nil},
	{"no body", crlf("A: 1\n\n"), Limits{}, crlf("A: 1\n\n"), nil},
	{"no empty line", crlf("A: 1\n"), Limits{}, crlf("A: 1\n\n"), nil},
	{"no line end in the header", "A: 1", Limits{}, crlf("A: 1\n\n"), nil},
	{"no line end in the body", crlf("A: 1\n\nbody"), Limits{}, crlf("A: 1\n\nbody"), nil},
	{"nothing", "", Limits{}, crlf("\n"), nil},
	{"no header", crlf("\nbody: x\n"), Limits{}, crlf("\nbody: x\n"), nil},
	{"a line that is no field begins the body", crlf("A: 1\nnonsense\nB: 2\n\nbody\n"), Limits{}, crlf("A: 1\n\nnonsense\nB: 2\n\nbody\n"), nil},
	{"a mailbox separator is no field", crlf("From joe@example.org Mon Jan 1 10:00:00\nA: 1\n\n"), Limits{}, crlf("\nFrom joe@example.org Mon Jan 1 10:00:00\nA: 1\n\n"), nil},
	{"a first line cannot be folded", crlf(" A: 1\nB: 2\n\n"), Limits{}, crlf("\n A: 1\nB: 2\n\n"), nil},
	{"a name is ASCII", crlf("Ä: 1\n\n"), Limits{}, crlf("\nÄ: 1\n\n"), nil},
	{"a name is not empty", crlf(": 1\n\n"), Limits{}, crlf("\n: 1\n\n"), nil},
	{"8-bit values pass", crlf("A: grün\n\nüben\n"), Limits{}, crlf("A: grün\n\nüben\n"), nil},

	{"bare LF in the header", "A: 1\nB: 2\r\n\r\n", Limits{}, "", ErrLineEnds},
	{"bare CR in the header", "A: 1\rB: 2\r\n\r\n", Limits{}, "", ErrLineEnds},
	{"bare LF in the body", "A: 1\r\n\r\none\ntwo\r\n", Limits{}, "", ErrLineEnds},
	{"bare CR in the body", "A: 1\r\n\r\none\rtwo\r\n", Limits{}, "", ErrLineEnds},
	{"two CR", "A: 1\r\n\r\none\r\r\n", Limits{}, "", ErrLineEnds},
	{"CR at the end", "A: 1\r\n\r\none\r", Limits{}, "", ErrLineEnds},
	{"CR at the end of the header", "A: 1\r", Limits{}, "", ErrLineEnds},
	{"smuggled end, LF dot LF", "A: 1\r\n\r\none\n.\nMAIL FROM:<>\r\n", Limits{}, "", ErrLineEnds},
	{"NUL in the header", "A: \x00\r\n\r\n", Limits{}, "", ErrLineEnds},
	{"NUL in the body", "A: 1\r\n\r\none\x00\r\n", Limits{}, "", ErrLineEnds},

	{"header of just the limit", crlf("A: 1\n\nbody\n"), Limits{HeaderBytes: 8}, crlf("A: 1\n\nbody\n"), nil},
	{"header above the limit", crlf("A: 1\n\nbody\n"), Limits{HeaderBytes: 7}, "", ErrHeaderLarge},
	{"a header without an end", "A: " + strings.Repeat("x", 300<<10), Limits{}, "", ErrHeaderLarge},
	{"one field of many lines", "A: 1\r\n" + strings.Repeat(" 0123456789\r\n", 30000), Limits{}, "", ErrHeaderLarge},
	{"as many fields as the limit", strings.Repeat("A:\r\n", 3) + "\r\n", Limits{Fields: 3}, strings.Repeat("A:\r\n", 3) + "\r\n", nil},
	{"one field more", strings.Repeat("A:\r\n", 4) + "\r\n", Limits{Fields: 3}, "", ErrHeaderLarge},
	{"49 hops", hops(49), Limits{}, hops(49), nil},
	{"50 hops are a loop", hops(50), Limits{}, "", ErrLoop},
	{"50 hops before a broken line", strings.TrimSuffix(hops(50), "\r\n") + "nonsense\r\n", Limits{}, "", ErrLoop},
}

func hops(n int) string { return strings.Repeat("Received: from a by b\r\n", n) + "\r\n" }

func TestMessage(t *testing.T) {
	t.Parallel()
	for _, tt := range messages {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, r := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in)), iotest.DataErrReader(strings.NewReader(tt.in))} {
				got, err := pass(r, tt.limits, "")
				if !errors.Is(err, tt.err) || err == nil && got != tt.want {
					t.Errorf("got %q, %v; want %q, %v", got, err, tt.want, tt.err)
				}
			}
		})
	}
}

// pass reads a message and writes it again with top on it.
func pass(r io.Reader, limits Limits, top string) (string, error) {
	m, err := Read(r, limits)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = m.Copy(&out, top)
	return out.String(), err
}

func TestErrorsOfTheReaderArrive(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, start := range []string{"A: 1\r\n", "A: 1\r\n\r\nbody"} {
		r := io.MultiReader(strings.NewReader(start), iotest.ErrReader(broken))
		if _, err := pass(r, Limits{}, ""); !errors.Is(err, broken) {
			t.Errorf("after %q: got %v, want %v", start, err, broken)
		}
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	m, err := Read(strings.NewReader(crlf("From: a@b\nX: no\nFROM :  c@d,\n\te@f \n\n")), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	got, want := strings.Join(m.Values("from"), "|"), "a@b|c@d,\te@f"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestForged(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, field string
		want        bool
	}{
		{"ours", "Authentication-Results: mx.example.org; spf=pass", true},
		{"in any case", "authentication-RESULTS: MX.Example.ORG; spf=pass", true},
		{"ours without results", "Authentication-Results: mx.example.org", true},
		{"with a version", "Authentication-Results: mx.example.org 1; none", true},
		{"behind a comment", "Authentication-Results: (a (nested \\) one)) mx.example.org; none", true},
		{"before a comment", "Authentication-Results: mx.example.org(x); none", true},
		{"on the next line", "Authentication-Results:\r\n mx.example.org; none", true},
		{"quoted", `Authentication-Results: "mx.example\.org"; none`, true},
		{"with a dot at the end", "Authentication-Results: mx.example.org.; none", true},
		{"white space before the colon", "Authentication-Results : mx.example.org; none", true},
		{"a comment without an end", "Authentication-Results: (mx.example.org; none", true},
		{"a quote without an end", `Authentication-Results: "mx.example.org; none`, true},
		{"a quote that ends in a backslash", `Authentication-Results: "mx\`, true},
		{"nobody's", "Authentication-Results: ; none", true},
		{"empty", "Authentication-Results:", true},
		{"somebody else's", "Authentication-Results: mx.example.net; spf=pass", false},
		{"of a name that begins like ours", "Authentication-Results: mx.example.org.evil.example; none", false},
		{"another field", "X-Results: mx.example.org; none", false},
		{"a return path", "Return-Path: <joe@example.org>", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, err := Read(strings.NewReader("A: 1\r\n"+tt.field+"\r\nB: 2\r\n\r\n"), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			m.Drop(Forged("mx.example.org"))
			if got := len(m.Fields) == 2; got != tt.want {
				t.Errorf("dropped: got %v, want %v", got, tt.want)
			}
		})
	}
}

// FuzzHeader: whatever comes in, what goes out has clean line ends and a header that reads as the same fields again, so
// that no later reader sees another header than the one that was judged.
func FuzzHeader(f *testing.F) {
	for _, tt := range messages {
		if len(tt.in) < 10<<10 {
			f.Add(tt.in)
		}
	}
	f.Fuzz(func(t *testing.T, in string) {
		first, err := Read(strings.NewReader(in), Limits{})
		if err != nil {
			return
		}
		fields := first.Fields
		var out strings.Builder
		if err := first.Copy(&out, ""); err != nil {
			return
		}
		again, err := Read(strings.NewReader(out.String()), Limits{})
		if err != nil {
			if errors.Is(err, ErrHeaderLarge) { // the empty line we added took it there
				return
			}
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if again.Malformed || len(again.Fields) != len(fields) {
			t.Fatalf("got %d fields (malformed %v), want %d", len(again.Fields), again.Malformed, len(fields))
		}
		for i, got := range again.Fields {
			if string(got.raw) != string(fields[i].raw) || got.Name != fields[i].Name {
				t.Errorf("field %d: got %q, want %q", i, got.raw, fields[i].raw)
			}
		}
		if rest := strings.ReplaceAll(out.String(), "\r\n", ""); strings.ContainsAny(rest, "\r\n\x00") {
			t.Errorf("bare line ends in %q", out.String())
		}
	})
}

package message

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
)

// sample has a part of every kind: RFC 9051 section 6.4.5.1 explains the numbers with one like it.
const sample = "From: a@example.org\nSubject: outer\nTo: b@example.org\n x@example.org\n" +
	"Content-Type: multipart/mixed; boundary=o\n\npreamble\n" +
	"--o\nContent-Type: text/plain\n\nfirst\nline\n" +
	"--o\nContent-Type: message/rfc822\n\nSubject: inner\nContent-Type: multipart/mixed; boundary=i\n\n" +
	"--i\nX: 1\n\none\n--i\nContent-Type: message/rfc822\n\nSubject: innermost\n\ndeep\n--i--\n" +
	"--o\nContent-Type: multipart/alternative; boundary=p\n\n--p\n\nplain\n--p\nContent-Type: text/html\n\n<p>\n--p--\n" +
	"--o--\nepilogue\n"

var sectionTests = []struct {
	name string
	in   string
	s    Section
	want string // with LF; empty and err = ErrNoSection
	err  error
}{
	{"whole", sample, Section{}, sample, nil},
	{"header has the empty line", sample, Section{Kind: Head}, sample[:strings.Index(sample, "preamble")], nil},
	{"text", sample, Section{Kind: Text}, sample[strings.Index(sample, "preamble"):], nil},
	{"part", sample, Section{Path: []int{1}}, "first\nline", nil},
	{"part header", sample, Section{Path: []int{1}, Kind: MIME}, "Content-Type: text/plain\n\n", nil},
	{"header of a part that is no message", sample, Section{Path: []int{1}, Kind: Head}, "", ErrNoSection},
	{"text of a part that is no message", sample, Section{Path: []int{1}, Kind: Text}, "", ErrNoSection},
	{"message part", sample, Section{Path: []int{2}}, "Subject: inner\nContent-Type: multipart/mixed; boundary=i\n\n--i\nX: 1\n\none\n--i\nContent-Type: message/rfc822\n\nSubject: innermost\n\ndeep\n--i--", nil},
	{"its own header", sample, Section{Path: []int{2}, Kind: MIME}, "Content-Type: message/rfc822\n\n", nil},
	{"header of the message in it", sample, Section{Path: []int{2}, Kind: Head}, "Subject: inner\nContent-Type: multipart/mixed; boundary=i\n\n", nil},
	{"part of the message in it", sample, Section{Path: []int{2, 1}}, "one", nil},
	{"header of that part", sample, Section{Path: []int{2, 1}, Kind: MIME}, "X: 1\n\n", nil},
	{"message in the message", sample, Section{Path: []int{2, 2}, Kind: Head}, "Subject: innermost\n\n", nil},
	{"its only part", sample, Section{Path: []int{2, 2, 1}}, "deep", nil},
	{"its text", sample, Section{Path: []int{2, 2}, Kind: Text}, "deep", nil},
	{"a single part has no second", sample, Section{Path: []int{2, 2, 2}}, "", ErrNoSection},
	{"nor a first of its first", sample, Section{Path: []int{2, 2, 1, 1}}, "", ErrNoSection},
	{"multipart in a multipart", sample, Section{Path: []int{3}}, "--p\n\nplain\n--p\nContent-Type: text/html\n\n<p>\n--p--", nil},
	{"part of it", sample, Section{Path: []int{3, 2}}, "<p>", nil},
	{"no such part", sample, Section{Path: []int{4}}, "", ErrNoSection},
	{"part 0", sample, Section{Path: []int{0}}, "", ErrNoSection},
	{"part of a leaf", sample, Section{Path: []int{1, 1}}, "", ErrNoSection},
	{"MIME without a part", sample, Section{Kind: MIME}, "", ErrNoSection},
	{"fields in the order of the message", sample, Section{Kind: Head, Fields: []string{"TO", "from", "no-such"}}, "From: a@example.org\nTo: b@example.org\n x@example.org\n\n", nil},
	{"no fields: the empty line", sample, Section{Kind: Head, Fields: []string{"X"}}, "\n", nil},
	{"all fields but", sample, Section{Kind: Head, Fields: []string{"Content-Type", "To"}, Except: true}, "From: a@example.org\nSubject: outer\n\n", nil},
	{"fields of an inner message", sample, Section{Path: []int{2}, Kind: Head, Fields: []string{"subject"}}, "Subject: inner\n\n", nil},
	{"a body that is not divided is part 1", "A: b\n\ntext\n", Section{Path: []int{1}}, "text\n", nil},
	{"and has no 1.1", "A: b\n\ntext\n", Section{Path: []int{1, 1}}, "", ErrNoSection},
	{"its header", "A: b\n\ntext\n", Section{Path: []int{1}, Kind: MIME}, "A: b\n\n", nil},
	{"header without empty line", "A: b\nC: d\n", Section{Kind: Head}, "A: b\nC: d\n", nil},
	{"fields of it", "A: b\nC: d\n", Section{Kind: Head, Fields: []string{"a"}}, "A: b\n", nil},
	{"no header", "\ntext\n", Section{Kind: Head}, "\n", nil},
	{"a message that is a message", "Content-Type: message/rfc822\n\nSubject: x\n\ny\n", Section{Path: []int{1, 1}}, "y\n", nil},
	{"header of the message in it", "Content-Type: message/rfc822\n\nSubject: x\n\ny\n", Section{Path: []int{1}, Kind: Head}, "Subject: x\n\n", nil},
	{"the one part of a multipart without parts", "Content-Type: multipart/mixed; boundary=b\n\nx\n", Section{Path: []int{1}}, "", nil},
}

func TestPiece(t *testing.T) {
	t.Parallel()
	for _, tt := range sectionTests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, in := range []string{tt.in, toWire(tt.in)} {
				m, err := Parse(Bytes(in), int64(len(in)), Limits{})
				if err != nil {
					t.Fatal(err)
				}
				for _, src := range []io.ReaderAt{Bytes(in), strings.NewReader(in)} {
					p, err := m.Piece(src, tt.s)
					if !errors.Is(err, tt.err) {
						t.Fatalf("err = %v, want %v", err, tt.err)
					}
					if got, want := content(t, p, src), toWire(tt.want); got != want {
						t.Errorf("got %q\nwant %q", got, want)
					}
				}
			}
		})
	}
}

// TestReadHeader wants the header alone to be what the parsed message has.
func TestReadHeader(t *testing.T) {
	t.Parallel()
	ins := []string{"X: " + strings.Repeat("y\n ", headerChunk) + "\n\nbody\n", "X: y\nZ: " + strings.Repeat("z", DefaultHeaderBytes+100) + "\n\nbody\n"}
	for _, tt := range sectionTests {
		ins = append(ins, tt.in, toWire(tt.in))
	}
	for _, in := range ins {
		for _, src := range []io.ReaderAt{Bytes(in), strings.NewReader(in)} {
			m, err := Parse(src, int64(len(in)), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			want, err := m.HeaderOf(src, m.Root)
			if err != nil {
				t.Fatal(err)
			}
			got, err := ReadHeader(src, int64(len(in)), Limits{})
			if !bytes.Equal(got, want) || err != nil {
				t.Errorf("ReadHeader(%.100q) = %.100q, %v; want %.100q", in, got, err, want)
			}
			if string(got.Wire()) != toWire(string(want)) {
				t.Errorf("Wire() = %.100q, want %.100q", got.Wire(), toWire(string(want)))
			}
		}
	}
}

// content writes a piece in full, checks its size and that every partial is a part of the whole.
func content(t *testing.T, p Piece, src io.ReaderAt) string {
	t.Helper()
	var out bytes.Buffer
	if err := p.CopyTo(&out, src, 0, math.MaxInt64); err != nil {
		t.Fatal(err)
	}
	whole := out.String()
	if int64(len(whole)) != p.Size() {
		t.Errorf("wrote %d octets of %d", len(whole), p.Size())
	}
	if read, err := io.ReadAll(p.Reader(src)); err != nil || string(read) != whole {
		t.Errorf("Reader gives %q, %v; want %q", read, err, whole)
	}
	for off := range len(whole) + 2 {
		for _, n := range []int{0, 1, 2, 7, len(whole)} {
			out.Reset()
			if err := p.CopyTo(&out, src, int64(off), int64(n)); err != nil {
				t.Fatal(err)
			}
			want := whole[min(off, len(whole)):min(off+n, len(whole))]
			if got := out.String(); got != want || p.Range(int64(off), int64(n)) != int64(len(want)) {
				t.Errorf("octets from %d, %d: %q, Range %d; want %q", off, n, got, p.Range(int64(off), int64(n)), want)
			}
		}
	}
	return whole
}

// TestPartialOfLargePart checks partial reads around the places that are remembered, for line ends of every kind.
func TestPartialOfLargePart(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"0123456789\n", "0123456789\r\n", "\n", "\r\n", "a\r\nb\n", "\r\r\n", "no end "} {
		body := strings.Repeat(line, 5*blockSize/len(line))
		in := "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nsmall\n--b\n\n" + body + "\n--b--\n"
		src := strings.NewReader(in)
		m, err := Parse(src, int64(len(in)), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		p, err := m.Piece(src, Section{Path: []int{2}})
		if err != nil {
			t.Fatal(err)
		}
		whole, err := Whole(src, int64(len(in)))
		if err != nil {
			t.Fatal(err)
		}
		checkPartials(t, p, src, toWire(body))
		checkPartials(t, whole, src, toWire(in))
	}
}

func checkPartials(t *testing.T, p Piece, src io.ReaderAt, want string) {
	t.Helper()
	if p.Size() != int64(len(want)) {
		t.Fatalf("size %d, want %d", p.Size(), len(want))
	}
	for block := 0; block < len(want); block += blockSize {
		for d := -25; d < 25; d++ {
			off := block + d
			if off < 0 || off > len(want) {
				continue
			}
			var out bytes.Buffer
			if err := p.CopyTo(&out, src, int64(off), 100); err != nil {
				t.Fatal(err)
			}
			if out.String() != want[off:min(off+100, len(want))] {
				t.Fatalf("octets from %d are %q, want %q", off, out.String(), want[off:min(off+100, len(want))])
			}
		}
	}
}

func TestCopyToShortFile(t *testing.T) {
	t.Parallel()
	in := "A: b\n\n" + strings.Repeat("x\n", 100)
	p, err := Whole(strings.NewReader(in), int64(len(in)))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = p.CopyTo(&out, strings.NewReader(in[:50]), 0, math.MaxInt64)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("err = %v, want %v", err, io.ErrUnexpectedEOF)
	}
	if out.String() != toWire(in[:50]) {
		t.Errorf("wrote %q, want what is there", out.String())
	}
}

func FuzzPiece(f *testing.F) {
	for _, tt := range sectionTests {
		f.Add([]byte(tt.in), fmt.Sprint(tt.s.Path), int(tt.s.Kind), strings.Join(tt.s.Fields, " "), tt.s.Except, int64(3), int64(5))
	}
	f.Fuzz(func(t *testing.T, in []byte, path string, kind int, fields string, except bool, off, n int64) {
		src := bytes.NewReader(in)
		m, err := Parse(src, int64(len(in)), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		s := Section{Kind: Kind(kind & 3), Except: except}
		for _, c := range path {
			if c >= '0' && c <= '9' {
				s.Path = append(s.Path, int(c-'0'))
			}
		}
		if fields != "" {
			s.Fields = strings.Fields(fields)
		}
		p, err := m.Piece(src, s)
		if err != nil {
			if !errors.Is(err, ErrNoSection) {
				t.Fatal(err)
			}
			return
		}
		var out, part bytes.Buffer
		if err := p.CopyTo(&out, src, 0, math.MaxInt64); err != nil {
			t.Fatal(err)
		}
		if int64(out.Len()) != p.Size() || toWire(out.String()) != out.String() {
			t.Fatalf("%q of %d octets", out.String(), p.Size())
		}
		if off < 0 || n < 0 {
			return
		}
		if err := p.CopyTo(&part, src, off, n); err != nil {
			t.Fatal(err)
		}
		rest := out.Bytes()[min(off, int64(out.Len())):]
		if want := rest[:min(n, int64(len(rest)))]; !bytes.Equal(part.Bytes(), want) {
			t.Fatalf("octets from %d, %d: %q, want %q", off, n, part.Bytes(), want)
		}
	})
}

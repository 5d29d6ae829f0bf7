package maildir

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// MaxKeywords is how many keywords the letters a to z can stand for.
const MaxKeywords = 26

const (
	keywordsFile     = "dovecot-keywords"
	maxKeywordsBytes = 64 << 10
)

// Keywords reads the folder's table of keywords, in the form that Dovecot uses: a line "0 $Junk" says that the letter a
// stands for $Junk. Index i is the letter 'a'+i; a letter without a keyword is "". Lines that say something else are
// passed over. No file is no keywords.
func (d Dir) Keywords() ([]string, error) {
	data, err := readLimited(d.File(keywordsFile), maxKeywordsBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read keywords: %w", err)
	}
	var table []string
	for line := range strings.Lines(string(data)) {
		number, keyword, ok := strings.Cut(strings.TrimSpace(line), " ")
		i, err := strconv.ParseUint(number, 10, 8)
		if !ok || err != nil || i >= MaxKeywords || !ValidKeyword(keyword) {
			continue
		}
		for len(table) <= int(i) {
			table = append(table, "")
		}
		table[i] = keyword
	}
	return table, nil
}

// WriteKeywords replaces the table durably.
func (d Dir) WriteKeywords(table []string) error {
	var b bytes.Buffer
	for i, keyword := range table {
		if keyword != "" {
			fmt.Fprintf(&b, "%d %s\n", i, keyword)
		}
	}
	return WriteFile(d.File(keywordsFile), b.Bytes())
}

// maxKeyword bounds one keyword.
const maxKeyword = 128

// ValidKeyword reports whether s is a flag keyword of RFC 9051 section 9: an atom.
func ValidKeyword(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || strings.IndexByte(`(){%*"\]`, s[i]) >= 0 {
			return false
		}
	}
	return s != "" && len(s) <= maxKeyword
}

// readLimited reads a small file; a larger one is an error.
func readLimited(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%s has %d octets, %d are allowed", path, info.Size(), limit)
	}
	return os.ReadFile(path)
}

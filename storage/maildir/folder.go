package maildir

import (
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/dirpost/dirpost/storage"
)

// Inbox is the name of the folder that every home has. It is the Maildir itself, the parent directory of all others.
const Inbox = "INBOX"

// CleanFolder returns the one spelling of a folder name: INBOX may be written in any case (RFC 9051 section 5.1), also as
// the level above others. Errors wrap storage.ErrBadName: an empty name or level, invalid UTF-8, control characters.
func CleanFolder(name string) (string, error) {
	if !utf8.ValidString(name) {
		return "", fmt.Errorf("%w: not UTF-8", storage.ErrBadName)
	}
	for level := range strings.SplitSeq(name, "/") {
		if level == "" {
			return "", fmt.Errorf("%w: an empty level in %q", storage.ErrBadName, clip(name))
		}
	}
	for i, r := range name {
		if r < ' ' || r == 0x7f {
			return "", fmt.Errorf("%w: control character at octet %d", storage.ErrBadName, i)
		}
	}
	if first, rest, below := strings.Cut(name, "/"); strings.EqualFold(first, Inbox) {
		if !below {
			return Inbox, nil
		}
		return Inbox + "/" + rest, nil
	}
	return name, nil
}

// FolderDir returns the directory of a folder relative to the Maildir: "" for INBOX, else a dot and the levels in
// modified UTF-7 (RFC 3501 section 5.1.3) with dots between them. A dot inside a level is written as if it were not
// ASCII, "&AC4-", because on disk a bare one divides levels. A name longer than maxBytes (0: 255) is
// storage.ErrBadName.
func FolderDir(name string, maxBytes int) (string, error) {
	name, err := CleanFolder(name)
	if err != nil || name == Inbox {
		return "", err
	}
	if maxBytes <= 0 || maxBytes > maxFile {
		maxBytes = maxFile
	}
	dir := "." + encodeUTF7(name)
	if len(dir) > maxBytes {
		return "", fmt.Errorf("%w: %q needs %d octets on disk, %d are allowed", storage.ErrBadName, clip(name), len(dir), maxBytes)
	}
	return dir, nil
}

// FolderName is the reverse of FolderDir for the directories that start with a dot. A directory that FolderDir would
// not have made is storage.ErrBadName, so that no two directories have one name.
func FolderName(dir string) (string, error) {
	levels, ok := strings.CutPrefix(dir, ".")
	if !ok || levels == "" {
		return "", fmt.Errorf("%w: %q is not a folder", storage.ErrBadName, clip(dir))
	}
	name := decodeUTF7(levels)
	back, err := FolderDir(name, 0)
	if err != nil {
		return "", err
	}
	if back != dir {
		return "", fmt.Errorf("%w: %q is not the canonical form of %q", storage.ErrBadName, clip(dir), clip(name))
	}
	return name, nil
}

// base64 of RFC 3501 section 5.1.3: "," instead of "/", no padding.
var base64UTF7 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding)

// encodeUTF7 encodes a name, turning "/" into ".".
func encodeUTF7(name string) string {
	var b strings.Builder
	var shifted []uint16
	flush := func() {
		if len(shifted) == 0 {
			return
		}
		raw := make([]byte, 0, 2*len(shifted))
		for _, unit := range shifted {
			raw = append(raw, byte(unit>>8), byte(unit))
		}
		b.WriteString("&" + base64UTF7.EncodeToString(raw) + "-")
		shifted = shifted[:0]
	}
	for _, r := range name {
		if r < ' ' || r > '~' || r == '.' {
			shifted = utf16.AppendRune(shifted, r)
			continue
		}
		flush()
		switch r {
		case '&':
			b.WriteString("&-")
		case '/':
			b.WriteByte('.')
		default:
			b.WriteRune(r)
		}
	}
	flush()
	return b.String()
}

// decodeUTF7 decodes what encodeUTF7 makes. Of anything else it makes something that encodes differently, by which
// FolderName knows it.
func decodeUTF7(levels string) string {
	var b strings.Builder
	for levels != "" {
		plain, rest, shifted := strings.Cut(levels, "&")
		b.WriteString(strings.ReplaceAll(plain, ".", "/"))
		if !shifted {
			break
		}
		code, after, _ := strings.Cut(rest, "-")
		levels = after
		if code == "" {
			b.WriteByte('&')
			continue
		}
		raw, err := base64UTF7.DecodeString(code)
		if err != nil || len(raw)%2 != 0 {
			raw = []byte{0, 0} // a control character, which no name may have
		}
		units := make([]uint16, 0, len(raw)/2)
		for i := 0; i+1 < len(raw); i += 2 {
			units = append(units, uint16(raw[i])<<8|uint16(raw[i+1]))
		}
		b.WriteString(string(utf16.Decode(units)))
	}
	return b.String()
}

// clip bounds what an error text repeats of a name.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}

package maildir

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dirpost/dirpost/storage"
)

// maxFile is the longest file name that every file system takes; maxInfo what ":2,", the six flags, 26 keywords and a
// few letters of others may need of it.
const (
	maxFile = 255
	maxInfo = 40
)

// letters are the system flags by their letter. Their order is that of the alphabet, which is the order in a name.
var letters = [...]flagLetter{
	{'D', storage.Draft},
	{'F', storage.Flagged},
	{'P', storage.Passed},
	{'R', storage.Answered},
	{'S', storage.Seen},
	{'T', storage.Trashed},
}

type flagLetter struct {
	letter byte
	flag   storage.Flags
}

// A Name is what the name of a message file says.
type Name struct {
	Base           string // the part before ":2,": the same for ever, but for the I field
	Size, WireSize int64  // of the fields S and W; -1 when absent or not a number
	UIDValidity    uint32 // of the field I; 0 when absent or malformed
	UID            storage.UID
	Info
}

// Info is what follows ":2,".
type Info struct {
	Flags    storage.Flags
	Keywords uint32 // bit i is the letter 'a'+i
	Other    string // letters that mean nothing here, kept in their order
}

// ParseName reads the name of a file in new or cur. Any name is a name: what is not understood is kept in Base or Other
// and means nothing.
func ParseName(file string) Name {
	base, info, _ := strings.Cut(file, ":")
	name := Name{Base: base, Size: -1, WireSize: -1}
	_, fields, _ := strings.Cut(base, ",")
	for fields != "" {
		var field string
		field, fields, _ = strings.Cut(fields, ",")
		name.readField(field)
	}
	if found, ok := strings.CutPrefix(info, "2,"); ok {
		name.Info = parseInfo(found)
	}
	return name
}

// readField takes one of the fields between commas. The first that is well-formed counts.
func (n *Name) readField(field string) {
	key, value, ok := strings.Cut(field, "=")
	if !ok {
		return
	}
	switch {
	case key == "S" && n.Size < 0:
		n.Size = parseSize(value)
	case key == "W" && n.WireSize < 0:
		n.WireSize = parseSize(value)
	case key == "I" && n.UID == 0:
		n.UIDValidity, n.UID = parseID(value)
	}
}

func parseSize(value string) int64 {
	size, err := strconv.ParseUint(value, 10, 63)
	if err != nil {
		return -1
	}
	return int64(size)
}

// parseID reads the value of an I field. Only the form that we write counts, so that one message has one name: no upper
// case, no leading zeros.
func parseID(value string) (uint32, storage.UID) {
	left, right, _ := strings.Cut(value, ".")
	if left == "" || right == "" || left[0] == '0' || right[0] == '0' || strings.ContainsAny(left, "ABCDEF") {
		return 0, 0
	}
	validity, err := strconv.ParseUint(left, 16, 32)
	if err != nil {
		return 0, 0
	}
	uid, err := strconv.ParseUint(right, 10, 32)
	if err != nil {
		return 0, 0
	}
	return uint32(validity), storage.UID(uid)
}

func formatID(validity uint32, uid storage.UID) string {
	return strconv.FormatUint(uint64(validity), 16) + "." + strconv.FormatUint(uint64(uid), 10)
}

func parseInfo(s string) Info {
	var info Info
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' {
			info.Keywords |= 1 << (c - 'a')
			continue
		}
		at := slices.IndexFunc(letters[:], func(l flagLetter) bool { return l.letter == c })
		if at >= 0 {
			info.Flags |= letters[at].flag
		} else if strings.IndexByte(info.Other, c) < 0 {
			info.Other += s[i : i+1]
		}
	}
	return info
}

// File is the file name of base with these flags, as it stands in cur: flags in the order of the alphabet, then
// keywords, then the letters of others.
func (i Info) File(base string) string {
	b := make([]byte, 0, len(base)+maxInfo)
	b = append(b, base...)
	b = append(b, ":2,"...)
	for _, l := range letters {
		if i.Flags&l.flag != 0 {
			b = append(b, l.letter)
		}
	}
	for k := range 26 {
		if i.Keywords&(1<<k) != 0 {
			b = append(b, 'a'+byte(k))
		}
	}
	return string(append(b, i.Other...))
}

// Number returns the base name with the facts in it, for a file that came without them or with those of another folder.
// It keeps every other field. If the result would be too long for a file name it returns false.
func (n Name) Number(size, wire int64, validity uint32, uid storage.UID) (string, bool) {
	unique, fields, _ := strings.Cut(n.Base, ",")
	var b strings.Builder
	b.WriteString(unique)
	fmt.Fprintf(&b, ",S=%d,W=%d,I=%s", size, wire, formatID(validity, uid))
	for fields != "" {
		var field string
		field, fields, _ = strings.Cut(fields, ",")
		switch key, _, _ := strings.Cut(field, "="); key {
		case "S", "W", "I", "":
		default:
			b.WriteString("," + field)
		}
	}
	return b.String(), b.Len()+maxInfo <= maxFile
}

// A Namer makes names that no other process on any node makes. It may be used concurrently.
type Namer struct {
	node    string
	pid     int
	counter atomic.Uint64
}

// NewNamer returns a Namer for this process on the node.
func NewNamer(node string, pid int) *Namer {
	return &Namer{node: safeNode(node), pid: pid}
}

// Base is a new base name.
func (n *Namer) Base(now time.Time, size, wire int64, validity uint32, uid storage.UID) string {
	return fmt.Sprintf("%d.M%dP%dQ%d.%s,S=%d,W=%d,I=%s", now.Unix(), now.Nanosecond()/1000, n.pid, n.counter.Add(1),
		n.node, size, wire, formatID(validity, uid))
}

// maxNode bounds the host name in a file name.
const maxNode = 64

// safeNode writes what would end or divide a name as the octal escapes that Maildir programs use for a host name.
func safeNode(node string) string {
	var b strings.Builder
	for i := range len(node) {
		c := node[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\%03o`, c)
		}
		if b.Len() >= maxNode {
			break
		}
	}
	if b.Len() == 0 {
		return "localhost"
	}
	return b.String()
}

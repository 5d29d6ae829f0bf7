package maildir

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/dirpost/dirpost/storage"
)

// What Dovecot writes: version 3 as it is now, with words of one letter before the name, and version 1 of old.
const (
	listNow = "3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1\n" +
		"25006 P4b5 W1270 :1276528487.M364837P9451.kurkku,S=1355,W=1394:2,\n" +
		"25017 :1276533073.M242911P3632.kurkku,W=1394\n"
	listOld = "1 1275660208 25022\n25006 1276528487.M364837P9451.kurkku\n25017 1276533073.M242911P3632.kurkku:2,S\n"
)

func TestParseUIDList(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in   string
		next storage.UID
		want map[string]storage.UID
	}{
		{listNow, 25022, map[string]storage.UID{"1276528487.M364837P9451.kurkku,S=1355,W=1394": 25006, "1276533073.M242911P3632.kurkku,W=1394": 25017}},
		{listOld, 25022, map[string]storage.UID{"1276528487.M364837P9451.kurkku": 25006, "1276533073.M242911P3632.kurkku": 25017}},
		{"3 V7 N1\n12 :a\n13 :a\n", 14, map[string]storage.UID{"a": 12}}, // the head was not written yet
		{"3 V7 N1\n", 1, map[string]storage.UID{}},
	} {
		got, err := parseUIDList(strings.NewReader(tt.in))
		if err != nil || got.Next != tt.next || !maps.Equal(got.UIDs, tt.want) {
			t.Errorf("parseUIDList(%q) = %+v, %v", tt.in, got, err)
		}
	}
	for _, in := range []string{
		"", "2 V1 N1\n", "3 V0 N1\n", "3 V1\n", "3 V1 Nx\n", "3 V4294967296 N1\n",
		"3 V1 N2\nx :a\n", "3 V1 N2\n0 :a\n", "3 V1 N2\n4294967295 :a\n", "3 V1 N2\n1 :\n", "3 V1 N2\n1 a\n", "3 V1 N2\n1 :../a\n",
		"3 V1 N2\n1 :" + strings.Repeat("a", maxListLine) + "\n",
	} {
		if got, err := parseUIDList(strings.NewReader(in)); !errors.Is(err, ErrUIDList) {
			t.Errorf("parseUIDList(%.40q) = %+v, %v; want %v", in, got, err, ErrUIDList)
		}
	}
}

// What was written for Dovecot is read as it was meant.
func TestWriteUIDList(t *testing.T) {
	t.Parallel()
	d := Dir(t.TempDir())
	if err := d.WriteUIDList(7, 9, []storage.Message{{UID: 3, Name: "1.a,S=1"}, {UID: 8, Name: "2.b"}}); err != nil {
		t.Fatal(err)
	}
	got, err := d.UIDList()
	if err != nil || got.Validity != 7 || got.Next != 9 || !maps.Equal(got.UIDs, map[string]storage.UID{"1.a,S=1": 3, "2.b": 8}) {
		t.Errorf("UIDList() = %+v, %v", got, err)
	}
	if err := d.ListTaken(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.UIDList(); err == nil {
		t.Error("a list that was taken over is there still")
	}
}

// No file makes the reader panic, and what it takes can be numbers of messages.
func FuzzUIDList(f *testing.F) {
	f.Add(listNow)
	f.Add(listOld)
	f.Fuzz(func(t *testing.T, in string) {
		list, err := parseUIDList(strings.NewReader(in))
		if err != nil {
			return
		}
		for base, uid := range list.UIDs {
			if uid == 0 || uid >= list.Next || base == "" || strings.ContainsAny(base, "/:") {
				t.Errorf("%q has UID %d, the next is %d", base, uid, list.Next)
			}
		}
		if list.Validity == 0 {
			t.Error("UIDVALIDITY 0")
		}
	})
}

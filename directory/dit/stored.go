package dit

import (
	"crypto/md5" // old passwords are what they are
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash"
	"strconv"
	"strings"

	"github.com/go-crypt/crypt/algorithm"
	"github.com/go-crypt/crypt/algorithm/argon2"
	"github.com/go-crypt/crypt/algorithm/bcrypt"
	"github.com/go-crypt/crypt/algorithm/md5crypt"
	"github.com/go-crypt/crypt/algorithm/scrypt"
	"github.com/go-crypt/crypt/algorithm/shacrypt"
)

// MaxPassword is the most octets of a password in clear: hashing takes time for each.
const MaxPassword = 512

// Limits of what a stored password may cost. Stored forms come from outside too, and the libraries would
// spend hours or all memory on a bad one.
const (
	maxStored  = 1024    // octets of a stored form
	maxSalt    = 64      // octets
	maxMemory  = 1 << 18 // KiB, argon2 and yescrypt: 256 MiB
	maxPasses  = 10      // argon2
	maxLanes   = 16      // argon2
	maxRounds  = 1_000_000
	maxCost    = 14 // bcrypt
	maxIterate = 2_000_000
)

// What new passwords are hashed with.
const (
	newMemory = 19 << 10 // KiB
	newPasses = 2
	newLanes  = 1
)

var (
	errScheme = errors.New("unknown password scheme")
	errForm   = errors.New("malformed stored password")
	errCost   = errors.New("stored password costs too much to check")
)

// A stored password is a hash in the form {SCHEME}text, with its costs tested.
type stored struct {
	matches func(password []byte) bool
	argon2  bool // costs about as much as the decoy
}

// schemes reads what follows each {SCHEME}, in upper case.
var schemes = map[string]func(text string) (stored, error){
	"SHA":           digest(sha1.New, false),
	"SSHA":          digest(sha1.New, true),
	"MD5":           digest(md5.New, false),
	"SMD5":          digest(md5.New, true),
	"SHA256":        digest(sha256.New, false),
	"SSHA256":       digest(sha256.New, true),
	"SHA512":        digest(sha512.New, false),
	"SSHA512":       digest(sha512.New, true),
	"CRYPT":         crypt,
	"ARGON2":        argon,
	"PBKDF2":        iterated(sha1.New),
	"PBKDF2-SHA1":   iterated(sha1.New),
	"PBKDF2-SHA256": iterated(sha256.New),
	"PBKDF2-SHA512": iterated(sha512.New),
	"PBKDF2_SHA256": packed,
}

// hasScheme reports whether a value of userPassword is a stored form and no clear password.
func hasScheme(v string) bool {
	name, _, ok := splitScheme(v)
	return ok && name != ""
}

func splitScheme(v string) (name, text string, ok bool) {
	if !strings.HasPrefix(v, "{") {
		return "", "", false
	}
	name, text, ok = strings.Cut(v[1:], "}")
	for i := range len(name) {
		if c := name[i]; !letter(c) && !digit(c) && c != '-' && c != '_' {
			return "", "", false
		}
	}
	return strings.ToUpper(name), text, ok
}

// parseStored reads a stored password and refuses one that would cost too much to check.
func parseStored(v string) (stored, error) {
	name, text, ok := splitScheme(v)
	if !ok || len(v) > maxStored {
		return stored{}, errForm
	}
	parse, ok := schemes[name]
	if !ok {
		return stored{}, errScheme
	}
	return parse(text)
}

// newStored hashes a password the way new ones are.
func newStored(password []byte) (string, error) {
	h, err := argon2.New(argon2.WithVariantID(), argon2.WithM(newMemory), argon2.WithT(newPasses), argon2.WithP(newLanes))
	if err != nil {
		return "", err
	}
	d, err := h.Hash(string(password))
	if err != nil {
		return "", err
	}
	return "{ARGON2}" + d.Encode(), nil
}

// newDecoy is the stored form of a password that nobody knows.
func newDecoy() (string, error) { return newStored([]byte(generate())) }

// digest reads base64 of a hash, followed by its salt.
func digest(alg func() hash.Hash, salted bool) func(string) (stored, error) {
	return func(text string) (stored, error) {
		raw, err := base64.StdEncoding.DecodeString(text)
		size := alg().Size()
		if err != nil || len(raw) < size || len(raw) > size+maxSalt || salted == (len(raw) == size) {
			return stored{}, errForm
		}
		return stored{matches: func(password []byte) bool {
			h := alg()
			h.Write(password)
			h.Write(raw[size:])
			return subtle.ConstantTimeCompare(h.Sum(nil), raw[:size]) == 1
		}}, nil
	}
}

// argon reads $argon2id$v=19$m=M,t=T,p=P$SALT$HASH, with the parameters in this order only.
func argon(text string) (stored, error) {
	f := strings.Split(text, "$")
	if len(f) != 6 || f[0] != "" || f[1] != "argon2id" && f[1] != "argon2i" && f[1] != "argon2d" || f[2] != "v=19" {
		return stored{}, errForm
	}
	p := strings.Split(f[3], ",")
	if len(p) != 3 || len(f[4]) < 8 || len(f[5]) < 16 {
		return stored{}, errForm
	}
	lanes, err := parameter(p[2], "p=", 1, maxLanes)
	if err == nil {
		_, err = parameter(p[1], "t=", 1, maxPasses)
	}
	if err == nil {
		_, err = parameter(p[0], "m=", 8*lanes, maxMemory)
	}
	if err != nil {
		return stored{}, err
	}
	s, err := library(argon2.Decode, text)
	s.argon2 = true
	return s, err
}

// crypt reads the forms of crypt(5) that are still met.
func crypt(text string) (stored, error) {
	f := strings.Split(text, "$")
	if len(f) < 4 || f[0] != "" {
		return stored{}, errForm // the DES form among them
	}
	switch id := f[1]; {
	case id == "1" && len(f) == 4:
		return library(md5crypt.DecodeVariant(md5crypt.VariantStandard), text)
	case (id == "5" || id == "6") && len(f) == 4:
		return library(shacrypt.Decode, text)
	case (id == "5" || id == "6") && len(f) == 5:
		if _, err := parameter(f[2], "rounds=", 1000, maxRounds); err != nil {
			return stored{}, err
		}
		return library(shacrypt.Decode, text)
	case (id == "2a" || id == "2b" || id == "2y") && len(f) == 4:
		if _, err := parameter(f[2], "", 4, maxCost); err != nil {
			return stored{}, err
		}
		if len(f[3]) != 53 {
			return stored{}, errForm
		}
		return library(bcrypt.DecodeVariant(bcrypt.VariantStandard), text)
	case id == "y" && len(f) == 5:
		if err := yescryptCost(f[2]); err != nil {
			return stored{}, err
		}
		return library(scrypt.DecodeVariant(scrypt.VariantYescrypt), text)
	}
	return stored{}, errScheme
}

// yescryptCost tests the setting of yescrypt: the default flavour "j", then the logarithm of N and the block size r, each
// one less and as one character. More characters mean other flavours or larger numbers.
func yescryptCost(setting string) error {
	const digits = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	if len(setting) != 3 || setting[0] != 'j' {
		return errForm
	}
	n, r := strings.IndexByte(digits, setting[1])+1, strings.IndexByte(digits, setting[2])+1
	if n < 1 || r < 1 || r > 48 { // larger ones begin a number of two characters
		return errForm
	}
	if n > 30 || (r<<n)/8 > maxMemory {
		return errCost
	}
	return nil
}

// iterated reads ROUNDS$SALT$HASH of PBKDF2, in the base64 of crypt or of RFC 4648, padded or not.
func iterated(alg func() hash.Hash) func(string) (stored, error) {
	return func(text string) (stored, error) {
		f := strings.Split(text, "$")
		if len(f) != 3 {
			return stored{}, errForm
		}
		rounds, err := parameter(f[0], "", 1, maxIterate)
		if err != nil {
			return stored{}, err
		}
		salt, err1 := anyBase64(f[1])
		key, err2 := anyBase64(f[2])
		if err1 != nil || err2 != nil {
			return stored{}, errForm
		}
		return derived(alg, rounds, salt, key)
	}
}

// packed reads the form of 389 Directory Server: base64 of four octets of rounds, 64 of salt, and the hash.
func packed(text string) (stored, error) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) < 4+64+16 {
		return stored{}, errForm
	}
	rounds := binary.BigEndian.Uint32(raw)
	if rounds < 1 || rounds > maxIterate {
		return stored{}, errCost
	}
	return derived(sha256.New, int(rounds), raw[4:68], raw[68:])
}

func derived(alg func() hash.Hash, rounds int, salt, key []byte) (stored, error) {
	blocks := (len(key) + alg().Size() - 1) / alg().Size()
	if len(key) < 16 || len(salt) > maxSalt {
		return stored{}, errForm
	}
	if rounds*blocks > maxIterate {
		return stored{}, errCost
	}
	return stored{matches: func(password []byte) bool {
		got, err := pbkdf2.Key(alg, string(password), salt, rounds, len(key))
		return err == nil && subtle.ConstantTimeCompare(got, key) == 1
	}}, nil
}

func anyBase64(s string) ([]byte, error) {
	s = strings.ReplaceAll(strings.TrimRight(s, "="), ".", "+")
	return base64.RawStdEncoding.DecodeString(s)
}

// library has the hash decoded, and compared, by the library.
func library(decode func(string) (algorithm.Digest, error), text string) (stored, error) {
	d, err := decode(text)
	if err != nil {
		return stored{}, errForm
	}
	return stored{matches: func(password []byte) bool {
		ok, err := d.MatchBytesAdvanced(password)
		return ok && err == nil
	}}, nil
}

// parameter reads a decimal number behind a prefix and tests its bounds: too little is as wrong as too much, for the
// libraries put defaults of their own in place of it.
func parameter(s, prefix string, least, most int) (int, error) {
	s, ok := strings.CutPrefix(s, prefix)
	n, err := strconv.Atoi(s)
	if !ok || err != nil || !digit(s[0]) {
		return 0, errForm
	}
	if n < least || n > most {
		return 0, errCost
	}
	return n, nil
}

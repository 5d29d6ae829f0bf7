package dit

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// storedSecrets are forms of the password "secret" that slappasswd, crypt(3) and 389 Directory Server made.
var storedSecrets = []struct{ name, stored string }{
	{"salted SHA-1", "{SSHA}aPZC/11C5yEQhDEhrv1Wzp/PxKzfXuzo"},
	{"SHA-1, scheme in lower case", "{sha}5en6G6MezRroT3XKqkdPOmY/BfQ="},
	{"salted MD5", "{SMD5}oOeuH2ISjmFb+TUteDwK9rY3O5k="},
	{"MD5", "{MD5}Xr4ilOzQ4PCOq3aQ0qbuaQ=="},
	{"salted SHA-256", "{SSHA256}idVkoZEYzDoKLPPtTDQNzeiEecTEd8obmcLVHL+P7/306G4ywso9Bw=="},
	{"salted SHA-512", "{SSHA512}iIzHmG9LdBrMMZWz3gI2t4FU/cdQHC4hhTifI/FkSlKM9M9hndUrdguCzNnME0sxIOIqVVjphtl5gI3PTqZ0ghnDhcJbJGhB"},
	{"SHA-256", "{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols="},
	{"PBKDF2", "{PBKDF2}10000$gxhLFoEc0evFSFrujL/m4A$MTMr6qKJjpPHm8nMb2j4/kA4snA"},
	{"PBKDF2 with SHA-1", "{PBKDF2-SHA1}10000$fCIEcaERkm.g.vo3iIQAzg$Ryv9bKh4OrY6vmzx/HLnxw3SHUM"},
	{"PBKDF2 with SHA-256", "{PBKDF2-SHA256}10000$24xBvGVkYVeLpR75taKzAw$56abt9w2.xQ7g.nkcC4bjuLkrv6FAIPgiX38Nmx5HC0"},
	{"PBKDF2 with SHA-512", "{PBKDF2-SHA512}10000$MiqsuJtzWjEy/TSDxX0FTQ$ZY0ZI4BIa/24yTcmntJkdcd3LaAdQvl8205ouXaSMI0hIc39Tj0RO0wIEt3q0KBMUAjY/zJL5N0K2KsoRFI8Xg"},
	{"PBKDF2 as 389 packs it", "{PBKDF2_SHA256}AAAIAAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj+B9XeOejtyt4BTjI46i3LtcyOiILFyqJgSilUxXiMS6q73bHB/+ZX8IITSt36w6FEBAtkpXO02/zpH0rHl4YSdeZ5hjbd9nDYq0Avw9pABNQVUEj7GBo+Dt2J6hvxICY6SNDtgyGQljMTA64Cc4E6rd/w3uDixLyqzBEc+Ba4lSmEBR6oQsFCJ2fpEquMVx7EG7YG7PZesWyzC+/itvph53qwWtea21d4DWq+gi+HjlMNggdZ5ycW4VWdnfqvWWsKPbrvrvlPNIIWUdoQUFTVIdMJhjnTZ5AeiM9iXBM3G4qbPigqPZyw922t+6ygi+ignwkbT2jWrtAx+Q87w/wL8"},
	{"argon2i", "{ARGON2}$argon2i$v=19$m=4096,t=3,p=1$9tIAbEq5x/miq4j8BGtOpg$ct9aGa7YEtF6k31P/oRWHFzuQ3cwnPa9xEpnriAotdg"},
	{"crypt MD5", "{CRYPT}$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1"},
	{"crypt SHA-256", "{CRYPT}$5$abcdefgh$gruCpC7VkOTspMQTTSAR8mtlO9Upms.fwqE5y16JVM."},
	{"crypt SHA-512", "{crypt}$6$abcdefgh$ltjgWl6579NluT/Vi1nwEvcil.G5Nbc4NiXZaNGStk8PSwGfQv72N2CKPPrVACtLtip/cZ/1GM/O6IND4WQhG."},
	{"crypt SHA-512 with rounds", "{CRYPT}$6$rounds=1000$abcdefgh$nhYjN017qxiYztzyUpZtPnUQcnLy62KsunSLHNeLahp2EHPlAKmFFlrjEwSXGo2kgY5hR2.peKEg2VGUqIJJu1"},
	{"yescrypt, Debian's default", "{CRYPT}$y$j9T$abcdefgh12345678$5sAznj4WEIGgyua2AXu2NRSCMeWB3V6LpE45tV7hHM8"},
	{"yescrypt, small", "{CRYPT}$y$j75$abcdefgh12345678$JC6qDq6ooBg0TtwcEkfEqOCTB4itIJhOMuWHbGoB3R8"},
	{"bcrypt b", "{CRYPT}$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"},
	{"bcrypt y", "{CRYPT}$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"},
}

func TestStoredPasswordsVerify(t *testing.T) {
	t.Parallel()
	fresh, err := newStored([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "{ARGON2}$argon2id$v=19$m=19456,t=2,p=1$"; !strings.HasPrefix(fresh, want) {
		t.Errorf("new passwords are stored as %q, want %s...", fresh, want)
	}
	for _, tt := range append(storedSecrets, struct{ name, stored string }{"our own", fresh}) {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, err := parseStored(tt.stored)
			if err != nil {
				t.Fatal(err)
			}
			if !p.matches([]byte("secret")) {
				t.Error("the password does not match")
			}
			for _, wrong := range []string{"Secret", "secret ", "secre", ""} {
				if p.matches([]byte(wrong)) {
					t.Errorf("%q matches", wrong)
				}
			}
		})
	}
}

func TestHostileStoredPasswordsAreRefused(t *testing.T) {
	t.Parallel()
	const salt, key = "c2FsdHNhbHRzYWx0", "ct9aGa7YEtF6k31P/oRWHFzuQ3cwnPa9xEpnriAotdg"
	key86 := strings.Repeat("a", 86)
	tests := []struct {
		name, stored string
		want         error
	}{
		{"argon2 memory", "{ARGON2}$argon2id$v=19$m=4294967295,t=1,p=1$" + salt + "$" + key, errCost},
		{"argon2 memory 0, which the library makes 2 GiB of", "{ARGON2}$argon2id$v=19$m=0,t=1,p=1$" + salt + "$" + key, errCost},
		{"argon2 memory below that of its lanes", "{ARGON2}$argon2id$v=19$m=16,t=1,p=4$" + salt + "$" + key, errCost},
		{"argon2 passes", "{ARGON2}$argon2id$v=19$m=64,t=11,p=1$" + salt + "$" + key, errCost},
		{"argon2 lanes", "{ARGON2}$argon2id$v=19$m=4096,t=1,p=255$" + salt + "$" + key, errCost},
		{"argon2 parameter twice", "{ARGON2}$argon2id$v=19$m=64,m=4294967295,t=1,p=1$" + salt + "$" + key, errForm},
		{"argon2 parameters in another order", "{ARGON2}$argon2id$v=19$t=1,m=64,p=1$" + salt + "$" + key, errForm},
		{"argon2 without hash", "{ARGON2}$argon2id$v=19$m=64,t=1,p=1$" + salt + "$", errForm},
		{"sha-crypt rounds", "{CRYPT}$6$rounds=4000000000$abcdefgh$" + key86, errCost},
		{"sha-crypt rounds with a sign", "{CRYPT}$6$rounds=+5000$abcdefgh$" + key86, errForm},
		{"bcrypt cost", "{CRYPT}$2y$15$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a", errCost},
		{"yescrypt memory", "{CRYPT}$y$jNT$abcdefgh12345678$5sAznj4WEIGgyua2AXu2NRSCMeWB3V6LpE45tV7hHM8", errCost},
		{"yescrypt with more parameters", "{CRYPT}$y$j9T/5$abcdefgh12345678$5sAznj4WEIGgyua2AXu2NRSCMeWB3V6LpE45tV7hHM8", errForm},
		{"PBKDF2 rounds", "{PBKDF2-SHA512}2000000000$" + salt + "$" + key, errCost},
		{"PBKDF2 rounds times blocks", "{PBKDF2}1000000$" + salt + "$" + strings.Repeat("A", 400), errCost},
		{"PBKDF2 without hash", "{PBKDF2}1000$" + salt + "$", errForm},
		{"389's rounds", "{PBKDF2_SHA256}/////" + strings.Repeat("A", 127), errCost},
		{"DES crypt", "{CRYPT}abJnggxhB/yWI", errForm},
		{"crypt nobody has", "{CRYPT}$9$abc$def", errScheme},
		{"clear text", "{CLEARTEXT}secret", errScheme},
		{"a salt where none belongs", "{SHA}aPZC/11C5yEQhDEhrv1Wzp/PxKzfXuzo", errForm},
		{"no salt where one belongs", "{SSHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", errForm},
		{"no scheme", "secret", errForm},
		{"too long", "{SSHA}" + strings.Repeat("A", maxStored), errForm},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := parseStored(tt.stored); !errors.Is(err, tt.want) {
				t.Errorf("parseStored(%q) = %v, want %v", tt.stored, err, tt.want)
			}
		})
	}
}

func TestHasScheme(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want bool
	}{
		{"{SSHA}x", true},
		{"{pbkdf2_SHA256}x", true},
		{"{nobody-knows}x", true},
		{"{}x", false},
		{"{with space}x", false},
		{"{open", false},
		{"plain{SSHA}", false},
	}
	for _, tt := range tests {
		if got := hasScheme(tt.in); got != tt.want {
			t.Errorf("hasScheme(%q) = %v, want %v", tt.in, got, tt.want)
		}
	}
}

// FuzzPassword feeds stored forms: no panic, and nothing that is accepted takes longer than the limits allow.
func FuzzPassword(f *testing.F) {
	for _, s := range storedSecrets {
		f.Add(s.stored)
	}
	f.Fuzz(func(t *testing.T, stored string) {
		p, err := parseStored(stored)
		if err != nil {
			return
		}
		began := time.Now()
		p.matches([]byte("secret"))
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("%q took %v", stored, took)
		}
	})
}

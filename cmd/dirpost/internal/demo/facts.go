// Package demo is the client side of `dirpost demo`: it talks to a running server the way mail programs do and reports,
// row by row, what worked. It knows of the server only what is in a [Facts] file, so it can be pointed at any server that
// was set up alike; the command that sets one up is in package main.
//
// Start reading at [Run]; rows.go lists what is shown, mail.go and imap.go are the clients.
package demo

import (
	"encoding/json"
	"os"
)

// Facts says where the server listens and who its people are. It is DIR/demo.json; all paths are absolute.
type Facts struct {
	PID    int    `json:"pid"`
	Base   string `json:"base"`
	Domain string `json:"domain"`
	Config string `json:"config"`
	CA     string `json:"ca"`
	Admin  Admin  `json:"admin"`
	Listen Listen `json:"listen"`
	Users  []User `json:"users"`
	Role   Role   `json:"role"`
	Alias  string `json:"alias"` // receive-only address of the first user

	// Stranger is a client certificate of an authority that the directory does not know.
	Stranger KeyPair `json:"stranger"`
}

// Admin is an administrator of the directory.
type Admin struct {
	DN       string `json:"dn"`
	Password string `json:"password"`
}

// Listen has one address of each listener, host:port, but LDAPI, which is a path.
type Listen struct {
	MX          string `json:"mx"`
	LMTP        string `json:"lmtp"`
	Submission  string `json:"submission"`
	Submissions string `json:"submissions"`
	IMAP        string `json:"imap"`
	IMAPS       string `json:"imaps"`
	LDAP        string `json:"ldap"`
	LDAPI       string `json:"ldapi"`
}

// A User has a mailbox, a password and a client certificate.
type User struct {
	Login    string `json:"login"`
	Mail     string `json:"mail"`
	DN       string `json:"dn"`
	Password string `json:"password"`
	KeyPair
}

// A KeyPair names a certificate and its key.
type KeyPair struct {
	Cert string `json:"cert"`
	Key  string `json:"key"`
}

// A Role is an address that its holder receives and may send as.
type Role struct {
	Mail   string `json:"mail"`
	Holder string `json:"holder"`
}

// ReadFacts reads a facts file.
func ReadFacts(path string) (Facts, error) {
	var f Facts
	text, err := os.ReadFile(path)
	if err != nil {
		return f, err
	}
	return f, json.Unmarshal(text, &f)
}

// Write replaces the file at path, readable by its owner only, for it holds passwords.
func (f Facts) Write(path string) error {
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	next := path + ".new"
	if err := os.WriteFile(next, append(text, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(next, path)
}

//go:build !peers

package directory_test

import (
	"testing"

	"github.com/dirpost/dirpost/directory/view"
)

// servers are those that the tests run against.
func servers() map[string]func(testing.TB) *server {
	return map[string]func(testing.TB) *server{"slapd": startSlapd, "embedded": startEmbedded}
}

// means are those by which both tell of changes.
func means() []string { return []string{view.Syncrepl, view.Poll} }

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// MaxFileBytes bounds the configuration file.
const MaxFileBytes = 1 << 20

// ErrConfig is wrapped by every error about what a file says.
var ErrConfig = errors.New("configuration")

// Load reads and checks the file at path. What the file leaves out is as in [Default].
func Load(path string) (Config, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Config{}, fmt.Errorf("no configuration at %s (%w): `dirpost init` makes one, --config names another", path, fs.ErrNotExist)
	}
	if err != nil {
		return Config{}, err
	}
	if info.Size() > MaxFileBytes {
		return Config{}, fmt.Errorf("%w: %s is larger than %d bytes", ErrConfig, path, MaxFileBytes)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Config{}, err
	}
	return ParseAs(path, text)
}

// ParseAs reads and checks text as if it stood in the file at path.
func ParseAs(path string, text []byte) (Config, error) {
	c, err := Parse(text)
	if err != nil {
		return Config{}, fmt.Errorf("%w %s: %w", ErrConfig, path, err)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return Config{}, err
	}
	c.resolve(filepath.Dir(abs))
	return c, nil
}

// Parse reads and checks text. Errors name the line and the key.
func Parse(text []byte) (Config, error) {
	c := Default()
	c.TLS = nil // a list in the file replaces the default, it is not added to it
	dec := toml.NewDecoder(strings.NewReader(string(text))).DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return Config{}, explain(err)
	}
	if err := c.check(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// explain turns the decoder's errors into lines an administrator can act on.
func explain(err error) error {
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) {
		var errs []error
		for _, e := range unknown.Errors {
			row, _ := e.Position()
			errs = append(errs, unknownKey(row, e.Key()))
		}
		return errors.Join(errs...)
	}
	var bad *toml.DecodeError
	if errors.As(err, &bad) {
		row, col := bad.Position()
		what := strings.TrimPrefix(bad.Error(), "toml: ")
		if key := strings.Join(bad.Key(), "."); key != "" && !strings.Contains(what, key) {
			what = key + ": " + what
		}
		return fmt.Errorf("line %d, column %d: %s", row, col, what)
	}
	return err
}

func unknownKey(row int, key []string) error {
	text := fmt.Sprintf("line %d: unknown key %q", row, strings.Join(key, "."))
	if near := nearest(key); near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	}
	return errors.New(text)
}

// nearest returns the known key most like the last part of key in the table it stands in, or "".
func nearest(key []string) string {
	table := reflect.TypeFor[Config]()
	for _, part := range key[:len(key)-1] {
		if table = child(table, part); table == nil {
			return ""
		}
	}
	last := key[len(key)-1]
	best, bestDistance := "", 3 // more than two slips is another word
	for i := range table.NumField() {
		name := table.Field(i).Tag.Get("toml")
		if d := distance(last, name); d < bestDistance {
			best, bestDistance = name, d
		}
	}
	return best
}

// child returns the struct type that the table name holds inside table, or nil.
func child(table reflect.Type, name string) reflect.Type {
	for i := range table.NumField() {
		if table.Field(i).Tag.Get("toml") != name {
			continue
		}
		t := table.Field(i).Type
		if t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if t.Kind() == reflect.Struct {
			return t
		}
	}
	return nil
}

// distance is the number of single letters to insert, delete or replace to turn a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

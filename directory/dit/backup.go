package dit

import (
	"fmt"
	"io"

	"go.etcd.io/bbolt"
)

// Backup writes a copy of the whole directory as it is at one moment, while it is in use: the bytes of a file that [Open]
// opens. It calls begin with their number and writes them to what that returns. Changes go on meanwhile.
func (t *Tree) Backup(begin func(size int64) (io.Writer, error)) error {
	err := guard(func() error {
		return t.db.View(func(tx *bbolt.Tx) error {
			w, err := begin(tx.Size())
			if err != nil {
				return err
			}
			_, err = tx.WriteTo(w)
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("directory: backup: %w", err)
	}
	return nil
}

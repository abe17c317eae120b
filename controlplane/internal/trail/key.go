package trail

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/understudy-db/understudy/proto/atomicfile"
	"github.com/understudy-db/understudy/proto/rpc/audit"
	"github.com/understudy-db/understudy/proto/rpc/errs"
	errorsv1 "github.com/understudy-db/understudy/proto/understudy/errors/v1"
)

const keyBytes = 32

// OpenKey reads the key in that file, and makes one when there is none.
func OpenKey(path string) (audit.Key, error) {
	fresh := make([]byte, keyBytes)
	if _, err := rand.Read(fresh); err != nil {
		return nil, err
	}
	err := atomicfile.Create(path, []byte(hex.EncodeToString(fresh)+"\n"), 0o600)
	if err == nil {
		return fresh, nil
	}
	if !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != keyBytes {
		return nil, errs.New(errs.FailedPrecondition, errorsv1.Reason_REASON_AUDIT_UNAVAILABLE,
			fmt.Sprintf("cannot read the key of the audit in %s", path),
			errs.WithHint("put the file of a backup, or of another control plane on the "+
				"store, in its place; docs/audit.md says what to do without one"))
	}
	return key, nil
}

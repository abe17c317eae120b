package nspawn

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzRecord reads records that a crash or a hand left behind, under any id: an error, or a record.
func FuzzRecord(f *testing.F) {
	f.Add("vol-0123456789ab", []byte(`{"ID":"vol-0123456789ab","SizeBytes":1073741824}`))
	f.Add("i-0123456789ab", []byte(`{"ID":1}`))
	f.Add("../../etc/passwd", []byte(``))
	f.Fuzz(func(t *testing.T, id string, content []byte) {
		l := lab{dir: t.TempDir()}
		folder := l.path("records", volumeKind)
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		if idPattern.MatchString(id) {
			if err := os.WriteFile(filepath.Join(folder, id+".json"), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		record, err := loadRecord[volumeRecord](l, volumeKind, id)
		if err == nil && (record == nil || !idPattern.MatchString(id)) {
			t.Errorf("%q gave %+v", id, record)
		}
	})
}

package consistentpoint_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/understudy-db/understudy/proto/consistentpoint"
)

func TestACopyStartsWhereItsSourceStood(t *testing.T) {
	t.Parallel()
	p := consistentpoint.Point{BinlogPos: "0-1-10", SlavePos: "0-1-9"}
	if got := p.Position(); got != "0-1-10" {
		t.Errorf("a primary's position is %q", got)
	}
	p.Replica = true
	if got := p.Position(); got != "0-1-9" {
		t.Errorf("a replica's position is %q", got)
	}
}

func TestNothingIsLostInTheRecord(t *testing.T) {
	t.Parallel()
	p := consistentpoint.Point{
		Replica: true, ServerID: 1, DomainID: 2, ServerVersion: "11.8.6-MariaDB",
		DatadirVersion: "11.8.6", BinlogPos: "2-1-3", SlavePos: "2-1-2", CurrentPos: "2-1-3",
		BinlogState: "2-1-3", BinlogFile: "b.000001", BinlogOffset: 4, FilesystemUUID: "u",
		Filesystem: "xfs", Datadir: "/d", DatadirOnVolume: "mysql", Nonce: "n",
		At: time.Unix(1, 0).UTC(), Contract: &consistentpoint.Contract{
			Options: map[string]string{"o": "1"}, Libraries: []string{"l"}, Preload: []string{"p"},
			Collations: []string{"c"}, KeyLibrary: "k", KeyFingerprint: "f", KeyIDs: []uint32{1}},
	}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var back consistentpoint.Point
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, p) {
		t.Errorf("%+v became %+v", p, back)
	}
}

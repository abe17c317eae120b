package inventory_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/inventory"
)

// TestShape pins the names under which the store keeps the fields of records: a field that is
// renamed is lost from records that are there already. Adding one is fine: add it here too.
func TestShape(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		record any
		want   string
	}{
		{inventory.Server{}, "Name State StateReason Findings Role Primary Provider MachineID " +
			"Zone Image Address AgentIdentity AgentVersion ControlPlane Port ServerID " +
			"BinaryVersion DatadirVersion DataVolume Mounts ReplicationConfigured " +
			"BinlogAutoPurge Verified Unproved DataUnproved MarksSeen FirstReady History " +
			"AccessRevoked Power Job Created Updated LastSeen Rev"},
		{inventory.Power{}, "key boot asked findings"},
		{inventory.Mount{}, "volume path fs_type fs_uuid"},
		{inventory.Volume{}, "ID Provider ProviderID SizeBytes Zone MachineID Server Snapshot " +
			"ImageDefault SnapshotTried State Job EffectKey " +
			"Created Updated Rev"},
		{inventory.Snapshot{}, "ID Server Volume Provider ProviderID Zone SizeBytes Mode State " +
			"StateReason Progress Point MaxPosition History Quiesce Reservation " +
			"ReservedTo Job EffectKey Created Updated Rev"},
		{inventory.Quiesce{}, "limit blocked frozen restarts until history begun lost " +
			"refusals not_before"},
	} {
		record := reflect.TypeOf(tt.record)
		var names []string
		for i := range record.NumField() {
			f := record.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" {
				name = f.Name
			}
			names = append(names, name)
		}
		if got := strings.Join(names, " "); got != tt.want {
			t.Errorf("%s is kept as\n %s\nwant %s", record, got, tt.want)
		}
	}
}

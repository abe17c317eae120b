package inventory

import "time"

// DataUnproved is why a replica may lack changes of its primary, although what did it is over: a
// filter was on, an error was skipped, a comparison found a difference. The zero value is no
// reason.
type DataUnproved struct {
	// Code is that of the finding, Why its text.
	Code string `json:"code"`
	Why  string `json:"why"`
	// Since is when it was seen last. A proof of all data that begins later ends it.
	Since time.Time `json:"since"`
	// Volume is the id of the data volume that it is of: another one has other data.
	Volume string `json:"volume"`
	// Level is that of a verification that ends it: POSITION when each one does, FULL for rows.
	Level VerifyLevel `json:"level"`
}

// DoubtData notes why the data of a replica may differ from now on. What any verification ends does
// not take the place of what one of all rows has to end.
func (s *Server) DoubtData(code, why string, level VerifyLevel, now time.Time) {
	if was, is := s.UnprovedData(); is && was.Level == VerifyFull && level != VerifyFull {
		s.DataUnproved.Since = now.UTC()
		return
	}
	s.DataUnproved = DataUnproved{Code: code, Why: why, Since: now.UTC(), Volume: s.DataVolume,
		Level: level}
}

// MarksSeen is how far it is known what the agent of a replica noted of its replication.
type MarksSeen struct {
	// Record is the id of the agent's record, Number that of its latest mark.
	Record string `json:"record"`
	Number int64  `json:"number"`
	// Volume is the id of the data volume that the marks are of.
	Volume string `json:"volume"`
}

// ProveMarks takes over what the agent of a copy had noted when a verification of it began, which
// is over where that found all data equal. What is noted of a server in service is compared with
// its record all the time.
func (s *Server) ProveMarks(v Verification, seen MarksSeen) {
	if s.InService() || v.Level != VerifyFull || v.Open > 0 || seen.Record == "" {
		return
	}
	s.MarksSeen = MarksSeen{Record: seen.Record, Number: seen.Number, Volume: s.DataVolume}
}

// UnprovedData is why the data that it has now may differ; false when nothing says so.
func (s Server) UnprovedData() (DataUnproved, bool) {
	u := s.DataUnproved
	return u, u.Code != "" && u.Volume == s.DataVolume
}

// ProveData takes over a verification that began at a time. It ends a doubt of its level, unless
// that was seen later than the verification began, or left something out.
func (s *Server) ProveData(v Verification, began time.Time) {
	v.Began = began.UTC()
	s.Verified = v
	if began.Before(s.DataUnproved.Since) || v.Open > 0 {
		return
	}
	if s.DataUnproved.Level == VerifyPosition || v.Level == VerifyFull {
		s.DataUnproved = DataUnproved{}
	}
}

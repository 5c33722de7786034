"""`tutelage label`: the teacher labels a heap of texts of any size, in a stream, without a student.

``heap`` reads the texts, ``stream`` labels one chunk after another, ``frozen`` fits the calibration
once, ``shards`` has the files of labelled texts, ``folder`` what stands beside them, ``display``
what is said meanwhile, ``command`` puts them together, and ``on_ray`` does so on many machines.
``batch`` does so by the files of a batch service: ``batch_files`` writes and reads them, and
``batch_requests`` finds what is to be asked.
"""
